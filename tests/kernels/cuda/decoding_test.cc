// Sampling, beam selection and head folding of CUDA, emulated or on a device, against what the
// engine does on the host.
#include <algorithm>
#include <cmath>

#include "engine/decoding/beam_search.h"
#include "engine/decoding/sampler.h"
#include "engine/model/grouping/head_folding.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/kernel_backend.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

// Logits of a vocabulary, some of them equal and some banned.
std::vector<float> Logits(size_t rows, size_t vocab, uint32_t seed) {
  auto logits = RandomFloats(rows * vocab, seed, 6.0f);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (i % 3 == 0) logits[i] = std::round(logits[i]);
    if (i % 7 == 5) logits[i] = -INFINITY;
    if (i % 11 == 0) logits[i] = i % 2 == 0 ? 0.0f : -0.0f;
  }
  return logits;
}

std::vector<int32_t> HostsTokens(const std::vector<float>& logits, size_t vocab,
                                 std::span<const cuda::SampleRow> asks) {
  Sampler sampler(static_cast<uint32_t>(vocab));
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < asks.size(); ++i) {
    GenerationOptions options;
    options.temperature = asks[i].temperature;
    options.top_k = asks[i].top_k;
    options.top_p = asks[i].top_p;
    options.seed = asks[i].seed;
    std::vector<float> row(logits.begin() + static_cast<ptrdiff_t>(i * vocab),
                           logits.begin() + static_cast<ptrdiff_t>((i + 1) * vocab));
    tokens.push_back(sampler.Sample(row, options, asks[i].sequence, asks[i].position));
  }
  return tokens;
}

std::vector<int32_t> DevicesTokens(const std::vector<float>& logits, size_t vocab,
                                   std::span<const cuda::SampleRow> asks) {
  std::vector<int32_t> tokens(asks.size(), -1);
  KernelBackend().SampleTokens(logits, vocab, asks, tokens);
  return tokens;
}

TEST(CudaSampling, DrawsTheTokensThatTheHostDrawsUnderEverySchedule) {
  const cuda::SampleRow asks[] = {
      {1.0f, 0, 1.0f, 0, 42, 0},    {0.7f, 0, 1.0f, 1, 42, 1},   {1.3f, 5, 1.0f, 0, 7, 2},
      {1.0f, 1, 1.0f, 0, 7, 3},     {1.0f, 0, 0.9f, 0, 9, 4},    {1.0f, 0, 0.0f, 3, 9, 5},
      {2.0f, 40, 0.6f, 0, 11, 600}, {1.0f, 9999, 0.3f, 0, 0, 0}, {0.05f, 3, 0.99f, 0, 1, 1},
  };
  InAllSchedules([&] {
    for (const size_t vocab : {1, 100, 300}) {
      for (uint32_t round = 0; round < 2; ++round) {
        const auto logits = Logits(std::size(asks), vocab, static_cast<uint32_t>(vocab) + round);
        EXPECT_EQ(DevicesTokens(logits, vocab, asks), HostsTokens(logits, vocab, asks)) << vocab;
      }
    }
  });
}

// Each temperature with each top-k and top-p, of a seed and a position of its own.
std::vector<cuda::SampleRow> EveryOption(uint32_t seed) {
  std::vector<cuda::SampleRow> asks;
  for (const float temperature : {0.2f, 1.0f, 3.0f}) {
    for (const uint32_t top_k : {0u, 1u, 7u, 50u, 5000u}) {
      for (const float top_p : {1.0f, 0.999f, 0.9f, 0.5f, 0.05f, 0.0f}) {
        const auto i = static_cast<uint32_t>(asks.size());
        asks.push_back({temperature, top_k, top_p, i % 4, seed * uint64_t{0x9e3779b97f4a7c15}, i});
      }
    }
  }
  return asks;
}

TEST(CudaSampling, DrawsTheHostsTokensOfEveryOptionOverManySeeds) {
  for (uint32_t seed = 0; seed < 6; ++seed) {
    const auto asks = EveryOption(seed);
    const size_t vocab = seed % 3 == 0 ? 600 : 61;
    const auto logits = Logits(asks.size(), vocab, seed);
    EXPECT_EQ(DevicesTokens(logits, vocab, asks), HostsTokens(logits, vocab, asks)) << seed;
  }
}

// All alike, of which the first are kept; all but one impossible; so far apart that most weigh
// nothing; and so close that they differ in their last bits only.
TEST(CudaSampling, DrawsTheHostsTokensOfOddDistributions) {
  constexpr size_t kVocab = 300;
  const auto asks = EveryOption(5);
  const auto noise = RandomFloats(kVocab, 6);
  std::vector<float> rows[] = {std::vector<float>(kVocab, -3.0f),
                               std::vector<float>(kVocab, -INFINITY), noise, noise};
  rows[1][171] = -1e30f;
  for (float& x : rows[2]) x *= 1e30f;
  for (float& x : rows[3]) x = 7.0f + x * 1e-5f;
  for (const std::vector<float>& row : rows) {
    std::vector<float> logits;
    for (size_t i = 0; i < asks.size(); ++i) logits.insert(logits.end(), row.begin(), row.end());
    EXPECT_EQ(DevicesTokens(logits, kVocab, asks), HostsTokens(logits, kVocab, asks)) << row[0];
  }
}

TEST(CudaSampling, DrawsTheHostsTokensOfARealVocabulary) {
  constexpr size_t kVocab = 32128;
  const cuda::SampleRow asks[] = {
      {1.0f, 0, 0.95f, 0, 3, 1}, {0.8f, 200, 1.0f, 0, 3, 2}, {1.5f, 5000, 0.9f, 0, 4, 3}};
  const auto logits = Logits(std::size(asks), kVocab, 9);
  EXPECT_EQ(DevicesTokens(logits, kVocab, asks), HostsTokens(logits, kVocab, asks));
}

// Many draws of one distribution: a wrong sum or a wrong order would shift some of them.
TEST(CudaSampling, FollowsTheHostOverManyPositions) {
  constexpr size_t kVocab = 37;
  const auto one = Logits(1, kVocab, 3);
  std::vector<float> logits;
  std::vector<cuda::SampleRow> asks;
  for (uint32_t i = 0; i < 200; ++i) {
    logits.insert(logits.end(), one.begin(), one.end());
    asks.push_back({1.5f, 20, 0.95f, 0, 5, i});
  }
  EXPECT_EQ(DevicesTokens(logits, kVocab, asks), HostsTokens(logits, kVocab, asks));
}

// The candidates of some beams, in steps of a quarter so that many totals are equal.
struct Candidates {
  Candidates(uint32_t beams, uint32_t each, uint32_t seed) {
    const auto scores = RandomFloats(size_t{beams} * each, seed, 8.0f);
    for (const float x : scores) {
      const auto at = static_cast<uint32_t>(room.size());
      room.push_back({-std::abs(std::round(x)) / 4, static_cast<int32_t>(2 + at * 7 % 64)});
    }
    for (uint32_t i = 0; i < beams; ++i) {
      const std::span<TokenScore> best(&room[size_t{i} * each], each);
      std::ranges::sort(best, [](const TokenScore& a, const TokenScore& b) {
        return a.score != b.score ? a.score > b.score : a.token < b.token;
      });
      rows.push_back({.best = best, .num_best = i % 3 == 2 ? each / 2 : each});
    }
  }
  std::vector<std::span<const TokenScore>> Spans() const {
    std::vector<std::span<const TokenScore>> spans;
    for (const ScoreReduction& row : rows) spans.push_back(row.best.first(row.num_best));
    return spans;
  }
  std::vector<TokenScore> room;
  std::vector<ScoreReduction> rows;
};

TEST(CudaBeams, GoOnAsTheHostsDo) {
  for (const uint32_t width : {1u, 2u, 5u}) {
    GenerationOptions options;
    options.num_beams = width;
    options.max_new_tokens = 8;
    BeamSearch search;
    const int32_t ends[] = {1};
    search.Start(&options, 0, ends);
    std::vector<float> totals = {0.0f};
    for (uint32_t step = 0; step < 4; ++step) {
      const Candidates candidates(search.live(), 2 * width, 20 + step);
      const cuda::BeamSequence sequence{0, search.live(), 2 * width, 0};
      std::vector<cuda::BeamChoice> choices;
      uint32_t count = 0;
      InAllSchedules([&] {
        std::vector<cuda::BeamChoice> found(2 * width);
        KernelBackend().SelectBeams({&sequence, 1}, candidates.rows, totals, found, {&count, 1});
        choices = found;
      });
      search.Step(candidates.Spans());
      ASSERT_GE(count, search.live());
      totals.clear();
      for (uint32_t beam = 0; beam < search.live(); ++beam) {  // none of them is the end
        EXPECT_EQ(choices[beam].beam, search.parents()[beam]) << width << " " << step;
        EXPECT_EQ(choices[beam].token, search.ids(beam).back()) << width << " " << step;
        totals.push_back(choices[beam].total);
      }
    }
  }
}

TEST(CudaBeams, OfManySequencesAreApart) {
  const Candidates candidates(4, 4, 9);
  const std::vector<float> totals = {-1.0f, -2.0f, -1.5f, 0.0f};
  const cuda::BeamSequence sequences[] = {{0, 1, 4, 5}, {1, 3, 4, 0}};
  std::vector<cuda::BeamChoice> choices(10, {0, 77, 0});
  uint32_t counts[2] = {};
  KernelBackend().SelectBeams(sequences, candidates.rows, totals, choices, counts);
  EXPECT_EQ(counts[0], 4u);
  EXPECT_EQ(counts[1], 4u);
  EXPECT_EQ(choices[4].beam, 77u);
  EXPECT_EQ(choices[9].beam, 77u);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(choices[5 + i].token, candidates.rows[0].best[i].token);
    EXPECT_GE(choices[i > 0 ? i - 1 : 0].total, choices[i].total);
  }
}

TEST(CudaFolding, HasTheBitsOfTheHosts) {
  constexpr uint32_t kHeads = 5;
  constexpr uint32_t kHeadDim = 3;
  constexpr uint32_t kModel = 300;
  const HeadGrouping grouping{.groups = {{0, 3}, {4, 1, 2}}};
  const std::vector<uint32_t> heads = {0, 3, 4, 1, 2};
  const std::vector<uint32_t> begin = {0, 2, 5};
  const auto weight = RandomFloats(kHeads * kHeadDim * kModel, 1);
  for (const auto& [weights, kind, each] :
       {std::tuple{cuda::FoldWeights::kMean, FoldKind::kMean, 0u},
        {cuda::FoldWeights::kHead, FoldKind::kScalar, 1u},
        {cuda::FoldWeights::kHeadDim, FoldKind::kColumn, kHeadDim},
        {cuda::FoldWeights::kColumn, FoldKind::kRow, kModel}}) {
    const auto learned = RandomFloats(size_t{kHeads} * each, 2);
    const auto want = FoldHeads(weight, kHeadDim, kModel, grouping, kind, learned);
    InAllSchedules([&, w = weights] {
      std::vector<float> got(want.size());
      KernelBackend().FoldHeads(
          {weight.data(), kHeadDim, kModel, {heads, begin}, w, learned.data(), got.data()});
      EXPECT_EQ(got, want) << static_cast<int>(w);
    });
  }
}

}  // namespace
}  // namespace precis
