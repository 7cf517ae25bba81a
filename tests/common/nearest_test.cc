#include "common/nearest.h"

#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsChangesAndSwaps) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("batch", "bach"), 1u);
  EXPECT_EQ(EditDistance("batch", "match"), 1u);
  EXPECT_EQ(EditDistance("batch", "bathc"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
}

class NearestWord : public ::testing::Test {
 protected:
  const std::vector<std::string> words_ = {"--max-batch", "--max-queue", "--model", "--listen"};
};

TEST_F(NearestWord, IsFoundAcrossTypingErrorsUnderscoresAndCase) {
  EXPECT_EQ(Nearest("--max-bach", words_), "--max-batch");
  EXPECT_EQ(Nearest("--max_batch", words_), "--max-batch");
  EXPECT_EQ(Nearest("--Model", words_), "--model");
  EXPECT_EQ(Nearest("--lisetn", words_), "--listen");
}

TEST_F(NearestWord, IsFoundByItsBeginning) {
  EXPECT_EQ(Nearest("--max-batch-size-of-all", words_), "--max-batch");
  EXPECT_EQ(Nearest("--list", words_), "--listen");
}

TEST_F(NearestWord, IsNoneWhereNothingIsNear) {
  EXPECT_EQ(Nearest("--quantize", words_), "");
  EXPECT_EQ(Nearest("", words_), "");
  EXPECT_EQ(Nearest("--max-batch", {}), "");
  EXPECT_EQ(Nearest(std::string(100'000, 'x'), words_), "");
}

TEST_F(NearestWord, IsAskedForInAMessage) {
  EXPECT_EQ(DidYouMean("--modell", words_), "; did you mean --model?");
  EXPECT_EQ(DidYouMean("--quantize", words_), "");
}

}  // namespace
}  // namespace precis
