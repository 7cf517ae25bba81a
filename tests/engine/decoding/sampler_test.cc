#include "engine/decoding/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/splitmix.h"

namespace precis {
namespace {

GenerationOptions Options(float temperature, uint32_t top_k = 0, float top_p = 1.0f) {
  GenerationOptions options;
  options.temperature = temperature;
  options.top_k = top_k;
  options.top_p = top_p;
  options.seed = 42;
  return options;
}

std::map<int32_t, int> Draw(const std::vector<float>& logits, const GenerationOptions& options,
                            int times) {
  Sampler sampler(static_cast<uint32_t>(logits.size()));
  std::map<int32_t, int> counts;
  for (int i = 0; i < times; ++i) {
    std::vector<float> row = logits;
    ++counts[sampler.Sample(row, options, 0, static_cast<uint32_t>(i))];
  }
  return counts;
}

TEST(CounterUniform, IsAChainOfSplitmix64) {
  // mix(0) of docs/design/attention_variants.md, then two more words of zero.
  EXPECT_EQ(CounterUniform(0, 0, 0), CounterUniform(0, 0, 0));
  EXPECT_NE(CounterUniform(0, 0, 0), CounterUniform(0, 0, 1));
  EXPECT_NE(CounterUniform(0, 0, 0), CounterUniform(0, 1, 0));
  EXPECT_NE(CounterUniform(0, 0, 0), CounterUniform(1, 0, 0));
  double sum = 0;
  for (uint32_t i = 0; i < 10'000; ++i) sum += CounterUniform(7, 0, i);
  EXPECT_NEAR(sum / 10'000, 0.5, 0.02);
}

TEST(Sampler, FollowsTheDistributionAtItsTemperature) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  const auto counts = Draw(logits, Options(1.0f), 20'000);
  EXPECT_NEAR(counts.at(0), 10'000, 400);
  EXPECT_NEAR(counts.at(1), 6'000, 400);
  EXPECT_NEAR(counts.at(2), 4'000, 400);
  const auto sharp = Draw(logits, Options(0.5f), 20'000);  // squares: 25 : 9 : 4
  EXPECT_NEAR(sharp.at(0), 20'000 * 25 / 38, 400);
}

TEST(Sampler, NeverDrawsABannedToken) {
  const std::vector<float> logits = {-INFINITY, 1.0f, -INFINITY, 1.0f};
  const auto counts = Draw(logits, Options(1.0f), 2'000);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_EQ(counts.count(0) + counts.count(2), 0u);
}

TEST(Sampler, TopKKeepsTheKBestAndTheirEquals) {
  const std::vector<float> logits = {1, 5, 3, 3, 2};
  const auto counts = Draw(logits, Options(10.0f, 2), 3'000);
  EXPECT_EQ(counts.count(0) + counts.count(4), 0u);
  EXPECT_GT(counts.at(2), 0);
  EXPECT_GT(counts.at(3), 0);
}

// Against a plain implementation of Hugging Face's TopPLogitsWarper.
TEST(Sampler, TopPKeepsTheSmallestSetThatHoldsP) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 2);
  for (int round = 0; round < 20; ++round) {
    std::vector<float> logits(700);
    for (float& logit : logits) logit = normal(random);
    const float p = 0.05f + 0.04f * static_cast<float>(round);
    std::vector<std::pair<double, int32_t>> sorted;
    double total = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      sorted.emplace_back(-std::exp(double{logits[i]}), static_cast<int32_t>(i));
      total -= sorted.back().first;
    }
    std::sort(sorted.begin(), sorted.end());
    std::vector<bool> kept(logits.size());
    double before = 0;
    for (const auto& [negative, id] : sorted) {
      if (before >= p * total) break;
      kept[static_cast<size_t>(id)] = true;
      before -= negative;
    }
    Sampler sampler(700);
    std::vector<float> row = logits;
    sampler.Sample(row, Options(1.0f, 0, p), 0, 0);
    for (size_t i = 0; i < row.size(); ++i) {
      EXPECT_EQ(row[i] != -INFINITY, kept[i]) << "token " << i << " at p " << p;
    }
  }
}

TEST(Sampler, TheSameSeedAndPositionGiveTheSameToken) {
  const std::vector<float> logits = {1, 2, 3, 2, 1};
  EXPECT_EQ(Draw(logits, Options(1.0f), 500), Draw(logits, Options(1.0f), 500));
  GenerationOptions other = Options(1.0f);
  other.seed = 43;
  EXPECT_NE(Draw(logits, Options(1.0f), 500), Draw(logits, other, 500));
}

}  // namespace
}  // namespace precis
