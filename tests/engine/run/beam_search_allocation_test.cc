// A binary of its own: it replaces operator new to count calls.
#include <cstdlib>
#include <new>
#include <vector>

#include "engine/run/beam_search.h"
#include "gtest/gtest.h"

namespace {
size_t g_allocations = 0;  // one thread only
}  // namespace

// Not inlined: GCC takes a visible free() of a new'd pointer for a mistake.
[[gnu::noinline]] void* operator new(size_t size) {
  ++g_allocations;
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

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
  std::vector<float> scores(kVocab);
  std::vector<BeamCandidate> candidates(kBeams * 2 * kBeams);
  std::vector<std::span<const BeamCandidate>> rows(kBeams);
  BeamSearch search;
  size_t before = g_allocations;
  search.Start(&options, 0, 1);
  EXPECT_GT(g_allocations, before);

  before = g_allocations;
  uint32_t state = 1;
  while (!search.finished()) {
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
  }
  EXPECT_EQ(g_allocations - before, 0u);
  EXPECT_EQ(search.num_hypotheses(), kBeams);
}

}  // namespace
}  // namespace precis
