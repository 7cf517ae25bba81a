#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "engine/text/unicode/utf8.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

class StreamDecoderOf : public testing::TestWithParam<const char*> {
 protected:
  StreamDecoderOf() : tokenizer_(Tokenizer::Load(GetParam(), 1u << 20).value()) {}
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(StreamDecoderOf, DeltasAreWholeUtf8AndJoinToDecode) {
  std::mt19937 random(5);
  const auto below = [&random](size_t n) { return static_cast<int32_t>(random() % n); };
  for (int i = 0; i < 5000; ++i) {
    StreamDecoder stream(*tokenizer_);
    std::vector<int32_t> ids(static_cast<size_t>(below(40)));
    std::string joined;
    for (int32_t& id : ids) {
      // Special and byte pieces, all pieces, and ids without a piece.
      const size_t ranges[] = {8, 270, tokenizer_->num_pieces(), tokenizer_->num_pieces() + 40};
      id = below(ranges[static_cast<size_t>(below(4))]) - (below(50) == 0 ? 1 : 0);
      const std::string delta = stream.Push(id);
      ASSERT_FALSE(FindBrokenUtf8(delta));
      joined += delta;
    }
    const std::string rest = stream.Finish();
    ASSERT_FALSE(FindBrokenUtf8(rest));
    ASSERT_EQ(joined + rest, tokenizer_->Decode(ids)) << testing::PrintToString(ids);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, StreamDecoderOf,
                         testing::Values("tests/golden", "models/demo",
                                         "tests/golden/tokenizer_json",
                                         "tests/golden/tokenizers/byte_fallback",
                                         "tests/golden/tokenizers/across_spaces",
                                         "tests/golden/tokenizers/space_suffix"));

std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.Encode(text).value();
}

TEST(StreamDecoder, BytePiecesAreHeldUntilTheirCharacterIsWhole) {
  const auto tokenizer = Tokenizer::Load("tests/golden/tokenizers/byte_fallback", 1u << 20).value();
  const std::vector<int32_t> ids = Ids(*tokenizer, "😀");
  ASSERT_EQ(ids.size(), 5u);  // the space in front, then four bytes
  StreamDecoder stream(*tokenizer);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(stream.Push(ids[i]), "");
  EXPECT_EQ(stream.Push(ids[4]), "😀");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(StreamDecoder, AnUnfinishedCharacterIsReplacedByteByByte) {
  const auto tokenizer = Tokenizer::Load("tests/golden/tokenizers/byte_fallback", 1u << 20).value();
  const std::vector<int32_t> ids = Ids(*tokenizer, "😀");
  StreamDecoder stream(*tokenizer);
  stream.Push(ids[1]);
  stream.Push(ids[2]);
  EXPECT_EQ(stream.Finish(), "\uFFFD\uFFFD");
}

TEST(StreamDecoder, EveryTokenOfPlainTextIsGivenOutAtOnce) {
  const auto tokenizer = Tokenizer::Load("tests/golden", 544).value();
  StreamDecoder stream(*tokenizer);
  const std::vector<int32_t> ids = Ids(*tokenizer, "The harbour ferry");
  std::vector<std::string> deltas;
  for (const int32_t id : ids) deltas.push_back(stream.Push(id));
  EXPECT_EQ(deltas,
            (std::vector<std::string>{"The", " ", "h", "ar", "bo", "ur", " f", "er", "r", "y"}));
}

}  // namespace
}  // namespace precis
