// What a row asks of a panel of the vocabulary's scores, while the panel is in cache: its best
// tokens and the sum of exponentials.
#include <cmath>

#include "kernels/cpu/isa/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/scores/score_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/isa/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

// A score has to be above this to be among the best.
HWY_INLINE float Threshold(const ScoreReduction& row) {
  return row.num_best < row.best.size() ? -HUGE_VALF : row.best[row.num_best - 1].score;
}

// Tokens come in ascending order, so one of an equal score goes after it.
HWY_INLINE void Insert(float score, int32_t token, ScoreReduction* row) {
  TokenScore* best = row->best.data();
  if (row->num_best < row->best.size()) ++row->num_best;
  size_t at = row->num_best - 1;
  for (; at > 0 && best[at - 1].score < score; --at) best[at] = best[at - 1];
  best[at] = {score, token};
}

// Takes scores [begin, end) one by one, and takes down NaN.
HWY_INLINE void InsertSome(const float* scores, size_t begin, size_t end, int32_t first_token,
                           ScoreReduction* row) {
  for (size_t i = begin; i < end; ++i) {
    if (scores[i] > Threshold(*row)) {
      Insert(scores[i], first_token + static_cast<int32_t>(i), row);
    } else if (scores[i] != scores[i]) {
      row->max = scores[i];
    }
  }
}

// Nearly every four vectors pass the one test; NaN does not.
HWY_INLINE void KeepBest(const float* scores, size_t count, int32_t first_token,
                         ScoreReduction* row) {
  const DF d;
  const size_t lanes = LanesF();
  VF threshold = hn::Set(d, Threshold(*row));
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto a = hn::Le(LoadF(scores + i), threshold);
    const auto b = hn::Le(LoadF(scores + i + lanes), threshold);
    const auto c = hn::Le(LoadF(scores + i + 2 * lanes), threshold);
    const auto e = hn::Le(LoadF(scores + i + 3 * lanes), threshold);
    if (hn::AllTrue(d, hn::And(hn::And(a, b), hn::And(c, e)))) continue;
    InsertSome(scores, i, i + 4 * lanes, first_token, row);
    threshold = hn::Set(d, Threshold(*row));
  }
  InsertSome(scores, i, count, first_token, row);
}

// exp(x) of x <= 0 within 2e-7 of itself, no less than exp(-86), which is nothing beside the
// maximum's 1 (and the smaller subnormals are slow). Cheaper than Exp: it is there for sums.
HWY_INLINE VF ExpOfDifference(VF x) {
  const DF d;
  const DI di;
  x = hn::Max(x, hn::Set(d, -86.0f));
  // As in Exp. ln 2 in one piece: what that loses grows with n as the result shrinks.
  const auto magic = hn::Set(d, 12582912.0f);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), magic);
  const auto r = hn::NegMulAdd(hn::Sub(shifted, magic), hn::Set(d, 0.693147180559945f), x);
  auto y = hn::MulAdd(r, hn::Set(d, 8.3691484908e-3f), hn::Set(d, 4.1917507250e-2f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.6666505260e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 4.9998869378e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.0000000108f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.0000000755f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, y), exponent));
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
      sum = hn::Add(sum, ExpOfDifference(hn::Sub(LoadF(scores + i), shift)));
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < end; ++i) total += std::exp(scores[i] - max);
  }
  return total;
}

void ReduceScores(const float* scores, size_t count, int32_t first_token, ScoreReduction* row) {
  KeepBest(scores, count, first_token, row);
  if (!row->wants_sum || row->num_best == 0 || row->max != row->max) return;
  const float max = row->best[0].score;  // of all scores so far
  if (max > row->max) {
    row->sum *= std::exp(static_cast<double>(row->max) - max);
    row->max = max;
  }
  row->sum += SumOfExps(scores, count, row->max);
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"

namespace precis {

HWY_EXPORT(ReduceScores);

void SelectScoreKernels(int64_t hwy_targets, CpuKernels* table) {
  table->reduce_scores = PickTarget(HWY_DISPATCH_TABLE(ReduceScores), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
