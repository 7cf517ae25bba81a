#include "engine/model/checkpoint/file/content_hash.h"

#include <string>

#include "gtest/gtest.h"

namespace precis {
namespace {

uint64_t HashOf(std::string_view text, uint64_t seed = 0) {
  ContentHash hash(seed);
  hash.Update(text);
  return hash.Digest();
}

// Published test values of XXH64.
TEST(ContentHash, IsXxh64) {
  EXPECT_EQ(HashOf(""), 0xef46db3751d8e999u);
  EXPECT_EQ(HashOf("a"), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(HashOf("abc"), 0x44bc2cf5ad770999u);
  EXPECT_EQ(HashOf("Nobody inspects the spammish repetition"), 0xfbcea83c8a378bf1u);
}

TEST(ContentHash, DoesNotDependOnHowBytesArrive) {
  std::string text;
  for (int i = 0; i < 200; ++i) text.push_back(static_cast<char>(i * 7));
  for (size_t length = 0; length <= text.size(); ++length) {
    const uint64_t whole = HashOf(std::string_view(text).substr(0, length));
    for (const size_t piece : {1u, 3u, 31u, 32u, 33u, 64u}) {
      ContentHash hash;
      for (size_t at = 0; at < length; at += piece) {
        hash.Update(std::string_view(text).substr(at, std::min(piece, length - at)));
      }
      ASSERT_EQ(hash.Digest(), whole) << length << " bytes in pieces of " << piece;
    }
  }
}

}  // namespace
}  // namespace precis
