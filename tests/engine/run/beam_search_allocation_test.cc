// A binary of its own: it replaces operator new to count calls.
#include <vector>

#include "engine/run/beam_search.h"
#include "gtest/gtest.h"
#include "tests/support/allocation_counter.h"

namespace precis {
namespace {

constexpr uint32_t kBeams = 16;
constexpr size_t kVocab = 100;

TEST(BeamSearchAllocation, NothingAfterStart) {
  GenerationOptions options;
  options.num_beams = kBeams;
  options.num_return_sequences = kBeams;
  options.max_new_tokens = 40;
  options.repetition_penalty = 1.5f;
  options.no_repeat_ngram_size = 3;
  options.early_stopping = EarlyStopping::kNever;
  options.forced_bos_token_id = 7;
  options.forced_eos_token_id = 1;
  options.suppressed_token_ids = {5, 6};
  options.bad_words = {{8}, {9, 10}, {11, 12, 13}};
  std::vector<float> scores(kVocab);
  std::vector<BeamCandidate> candidates(kBeams * 2 * kBeams);
  std::vector<std::span<const BeamCandidate>> rows(kBeams);
  BeamSearch search;
  EXPECT_GT(CountAllocations([&] { search.Start(&options, 0, 1); }), 0u);

  uint32_t state = 1;
  const auto step = [&] {
    for (uint32_t beam = 0; beam < search.live(); ++beam) {
      for (float& score : scores) {
        state = state * 1664525u + 1013904223u;
        score = -static_cast<float>(state >> 8) * 0x1p-22f;
      }
      search.Process(beam, scores);
      const std::span<BeamCandidate> best(&candidates[beam * 2 * kBeams], 2 * kBeams);
      rows[beam] = best.first(BestCandidates(scores, best));
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
