// SelectBeams: a block a sequence puts the candidates of its beams in order. They are some
// hundreds, so each counts those before it.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;

// Higher totals first; lower beams, then lower tokens first among equals.
__device__ bool IsBefore(const BeamChoice& a, const BeamChoice& b) {
  if (a.total != b.total) return a.total > b.total;
  return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
}

__device__ BeamChoice ChoiceAt(const ScoreReduction* rows, const float* totals, uint32_t beam,
                               uint32_t rank) {
  const TokenScore& candidate = rows[beam].best.data()[rank];
  return {__fadd_rn(candidate.score, totals[beam]), beam, candidate.token};
}

__global__ void __launch_bounds__(kThreads)
    SelectKernel(const BeamSequence* sequences, const ScoreReduction* rows, const float* totals,
                 BeamChoice* choices, uint32_t* counts) {
  const BeamSequence s = sequences[blockIdx.x];
  rows += s.first_row;
  totals += s.first_row;
  uint32_t candidates = 0;
  for (uint32_t beam = 0; beam < s.live; ++beam) {
    candidates += static_cast<uint32_t>(rows[beam].num_best);
  }
  for (uint32_t i = threadIdx.x; i < s.live * s.wanted; i += kThreads) {
    const uint32_t beam = i / s.wanted;
    if (i % s.wanted >= rows[beam].num_best) continue;
    const BeamChoice mine = ChoiceAt(rows, totals, beam, i % s.wanted);
    uint32_t before = 0;
    for (uint32_t other = 0; other < s.live; ++other) {
      for (uint32_t rank = 0; rank < rows[other].num_best; ++rank) {
        before += IsBefore(ChoiceAt(rows, totals, other, rank), mine) ? 1 : 0;
      }
    }
    if (before < s.wanted) choices[s.first_choice + before] = mine;
  }
  if (threadIdx.x == 0) counts[blockIdx.x] = min(candidates, s.wanted);
}

}  // namespace

void SelectBeams(std::span<const BeamSequence> sequences, const ScoreReduction* rows,
                 const float* totals, BeamChoice* choices, uint32_t* counts, cudaStream_t stream) {
  if (sequences.empty()) return;
  PRECIS_LAUNCH(SelectKernel, Blocks(sequences.size(), 1), kThreads, 0, stream, sequences.data(),
                rows, totals, choices, counts);
}

}  // namespace precis::cuda
