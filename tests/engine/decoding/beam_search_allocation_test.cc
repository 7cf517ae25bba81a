// A binary of its own: it replaces operator new to count calls.
#include <vector>

#include "engine/decoding/beam_search.h"
#include "gtest/gtest.h"
#include "tests/support/allocation_counter.h"

namespace precis {
namespace {

constexpr uint32_t kBeams = 16;
constexpr uint32_t kVocab = 100;
constexpr int32_t kEnds[] = {1};

TEST(BeamSearchAllocation, NothingAfterStart) {
  GenerationOptions options;
  options.num_beams = kBeams;
  options.num_return_sequences = kBeams;
  options.max_new_tokens = 40;
  options.early_stopping = EarlyStopping::kNever;
  std::vector<TokenScore> candidates(kBeams * 2 * kBeams);
  std::vector<std::span<const TokenScore>> rows(kBeams);
  BeamSearch search;
  EXPECT_GT(CountAllocations([&] { search.Start(&options, 0, kEnds); }), 0u);

  uint32_t state = 1;
  const auto step = [&] {
    for (uint32_t beam = 0; beam < search.live(); ++beam) {
      const std::span<TokenScore> best(&candidates[beam * 2 * kBeams], 2 * kBeams);
      float score = 0;
      for (TokenScore& next : best) {
        state = state * 1664525u + 1013904223u;
        score -= static_cast<float>(state >> 8) * 0x1p-22f;
        next = {score, static_cast<int32_t>(state % kVocab)};
      }
      rows[beam] = best;
    }
    search.Step({rows.data(), search.live()});
  };
  EXPECT_EQ(CountAllocations([&] {
              while (!search.finished()) step();
            }),
            0u);
  EXPECT_EQ(search.num_hypotheses(), kBeams);
}

}  // namespace
}  // namespace precis
