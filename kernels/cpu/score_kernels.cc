// What a row asks of a panel of the vocabulary's scores, while the panel is in cache: its best
// tokens and the sum of exponentials.
#include <cmath>

#include "kernels/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/score_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

// A score has to be above this to be among the best.
HWY_INLINE float Threshold(const ScoreSummary& row) {
  return row.num_best < row.best.size() ? -HUGE_VALF : row.best[row.num_best - 1].score;
}

// Tokens come in ascending order, so one of an equal score goes behind.
HWY_INLINE void Insert(float score, int32_t token, ScoreSummary* row) {
  TokenScore* best = row->best.data();
  if (row->num_best < row->best.size()) ++row->num_best;
  size_t at = row->num_best - 1;
  for (; at > 0 && best[at - 1].score < score; --at) best[at] = best[at - 1];
  best[at] = {score, token};
}

// Nearly every vector fails the one comparison.
HWY_INLINE void KeepBest(const float* scores, size_t count, int32_t first_token,
                         ScoreSummary* row) {
  const DF d;
  const size_t lanes = LanesF();
  float threshold = Threshold(*row);
  for (size_t i = 0; i < count; i += lanes) {
    const size_t left = count - i < lanes ? count - i : lanes;
    if (left == lanes && hn::AllFalse(d, hn::Gt(LoadF(scores + i), hn::Set(d, threshold)))) {
      continue;
    }
    for (size_t j = i; j < i + left; ++j) {
      if (!(scores[j] > threshold)) continue;
      Insert(scores[j], first_token + static_cast<int32_t>(j), row);
      threshold = Threshold(*row);
    }
  }
}

// In a row of NaN it is NaN.
HWY_INLINE float MaxOf(const float* scores, size_t count) {
  const DF d;
  const size_t lanes = LanesF();
  VF maxima = hn::Set(d, scores[0]);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) maxima = hn::Max(maxima, LoadF(scores + i));
  if (i < count) maxima = hn::Max(maxima, LoadPartial(scores + i, count - i, scores[0]));
  return hn::GetLane(hn::MaxOfLanes(d, maxima));
}

// Sums are of vectors within a block and of double between blocks: a vocabulary is long.
HWY_INLINE double SumOfExps(const float* scores, size_t count, float max) {
  const DF d;
  const size_t lanes = LanesF();
  const size_t block = 64 * lanes;
  const VF shift = hn::Set(d, max);
  double total = 0;
  for (size_t begin = 0; begin < count; begin += block) {
    const size_t end = count - begin < block ? count : begin + block;
    VF sum = hn::Zero(d);
    size_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      sum = hn::Add(sum, Exp(hn::Sub(LoadF(scores + i), shift)));
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < end; ++i) total += std::exp(scores[i] - max);
  }
  return total;
}

void SummarizeScores(const float* scores, size_t count, int32_t first_token, ScoreSummary* row) {
  KeepBest(scores, count, first_token, row);
  if (!row->wants_sum) return;
  const float max = MaxOf(scores, count);
  if (!(max <= row->max)) {  // NaN too
    row->sum *= std::exp(static_cast<double>(row->max) - max);
    row->max = max;
  }
  if (row->max != -HUGE_VALF) row->sum += SumOfExps(scores, count, row->max);
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/dispatch.h"

namespace precis {

HWY_EXPORT(SummarizeScores);

void SelectScoreKernels(int64_t hwy_targets, CpuKernels* table) {
  table->summarize_scores = PickTarget(HWY_DISPATCH_TABLE(SummarizeScores), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
