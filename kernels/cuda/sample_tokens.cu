// SampleTokens: a block a row draws one token as engine/decoding/sampler.cc does: temperature, then
// top-k, then top-p, then the inverse of the distribution's sum in the order of ids. Thresholds are
// found four bits at a time: of each such digit a pass over the row has every thread add up what
// its tokens weigh, in sums of its own, so nothing is sorted and nothing depends on who comes
// first.
//
// Sums are of double in an order of their own, so that a token differs from the CPU's only where
// the drawn number falls within some 1e-15 of a border between two tokens, or top-p does.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/splitmix.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarpLanes;
// That share a multiprocessor: what their sums leave room for.
[[maybe_unused]] constexpr unsigned kBlocks = 4;
constexpr unsigned kDigitBits = 4;
constexpr unsigned kDigits = 1u << kDigitBits;

// Ordered as the floats are; 0 of no number.
__device__ __forceinline__ uint32_t KeyOf(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// What a block's threads leave for one another.
struct Scratch {
  unsigned counts[kWarps];
  float maxima[kWarps];
  double of_digits[kDigits];
  double sums_of_threads[kThreads];
  unsigned counts_of_threads[kThreads];
  int32_t token;
};

// A row after the temperature, and the tokens that may be drawn: those with larger keys than
// `least`, and of those with the same the first `equals`.
class Row {
 public:
  // bins: [kDigits, kThreads]
  __device__ Row(const float* logits, unsigned vocab, float temperature, Scratch* scratch,
                 double* bins)
      : logits_(logits), vocab_(vocab), temperature_(temperature), scratch_(scratch), bins_(bins) {
    float top = -INFINITY;
    for (unsigned i = threadIdx.x; i < vocab_; i += kThreads) top = LargerOrNaN(top, At(i));
    top_ = BlockMax<kThreads>(top, scratch_->maxima);
  }

  // Values equal to the k-th largest stay.
  __device__ void KeepTopK(unsigned k) {
    least_ = Reach([](float) { return 1.0; }, [k](double) { return static_cast<double>(k); }).key;
  }

  // The most probable until those before hold `p` of the probability; at least one.
  __device__ void KeepTopP(float p) {
    double wanted = 0;
    const Reached reached = Reach([this](float x) { return WeightOf(x); },
                                  [&](double all) {
                                    wanted = p * all > 0 ? p * all : 4.9e-324;
                                    return wanted;
                                  });
    const unsigned same = CountEquals(reached.key);
    const double each = WeightOf(ValueOf(reached.key));
    double before = reached.above;
    unsigned kept = 1;
    for (before += each; kept < same && before < wanted; before += each) ++kept;
    least_ = reached.key;
    equals_ = kept;
  }

  // A thread has neighbouring tokens; the one whose tokens hold the number looks for it.
  __device__ int32_t Draw(double uniform) {
    const unsigned each = (vocab_ + kThreads - 1) / kThreads;
    const unsigned begin = min(threadIdx.x * each, vocab_);
    const unsigned end = min(begin + each, vocab_);
    unsigned same = 0;
    for (unsigned i = begin; i < end; ++i) same += KeyOf(At(i)) == least_ ? 1 : 0;
    scratch_->counts_of_threads[threadIdx.x] = same;
    __syncthreads();
    unsigned equals_before = 0;
    for (unsigned i = 0; i < threadIdx.x; ++i) equals_before += scratch_->counts_of_threads[i];
    double sum = 0;
    Walk(begin, end, equals_before, [&](unsigned, double weight) {
      sum += weight;
      return false;
    });
    scratch_->sums_of_threads[threadIdx.x] = sum;
    if (threadIdx.x == 0) scratch_->token = 0;
    __syncthreads();
    double before = 0;
    double total = 0;
    unsigned last = 0;  // who has the last token that may be drawn
    for (unsigned i = 0; i < kThreads; ++i) {
      if (i == threadIdx.x) before = total;
      total += scratch_->sums_of_threads[i];
      if (scratch_->sums_of_threads[i] > 0) last = i;
    }
    const double target = uniform * total;
    const bool is_mine =
        sum > 0 && before <= target && (before + sum > target || threadIdx.x == last);
    if (is_mine) {
      Walk(begin, end, equals_before, [&](unsigned i, double weight) {
        before += weight;
        scratch_->token = static_cast<int32_t>(i);
        return before > target;
      });
    }
    __syncthreads();
    return scratch_->token;
  }

 private:
  // -0 is 0: they are equal, and their keys would not be.
  __device__ float At(unsigned i) const {
    return __fadd_rn(__fdiv_rn(logits_[i], temperature_), 0.0f);
  }
  __device__ static float ValueOf(uint32_t key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
  }
  __device__ double WeightOf(float x) const { return exp(static_cast<double>(x) - top_); }

  __device__ unsigned CountEquals(uint32_t key) {
    unsigned count = 0;
    for (unsigned i = threadIdx.x; i < vocab_; i += kThreads) count += KeyOf(At(i)) == key ? 1 : 0;
    return BlockSum<kThreads>(count, scratch_->counts);
  }

  // A key, and what tokens with larger ones weigh.
  struct Reached {
    uint32_t key;
    double above;
  };
  // The largest key whose tokens and those with larger ones weigh as much as is wanted, of those
  // that may be drawn. wanted(what they weigh together) is asked once.
  template <typename Weigh, typename Wanted>
  __device__ Reached Reach(const Weigh& weigh, const Wanted& wanted) {
    Reached at{0, 0};
    double target = 0;
    for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
      SumDigits(at.key, static_cast<unsigned>(shift), weigh);
      if (shift == 32 - kDigitBits) {
        double all = 0;
        for (unsigned digit = 0; digit < kDigits; ++digit) all += scratch_->of_digits[digit];
        target = wanted(all);
      }
      // Rounding may leave less than the digit before had: then its least token is what is reached.
      unsigned reached = 0;
      double above = at.above;
      double above_reached = above;
      for (unsigned i = kDigits; i > 0; --i) {
        const double sum = scratch_->of_digits[i - 1];
        if (!(sum > 0)) continue;
        reached = i - 1;
        above_reached = above;
        above += sum;
        if (above >= target) break;
      }
      at = {at.key | reached << shift, above_reached};
    }
    return at;
  }

  // What tokens weigh whose keys begin as `prefix` does above `shift`'s digit, by that digit.
  template <typename Weigh>
  __device__ void SumDigits(uint32_t prefix, unsigned shift, const Weigh& weigh) {
    double* mine = bins_ + threadIdx.x;
#pragma unroll
    for (unsigned digit = 0; digit < kDigits; ++digit) mine[digit * kThreads] = 0;
    for (unsigned i = threadIdx.x; i < vocab_; i += kThreads) {
      const float x = At(i);
      const uint32_t key = KeyOf(x);
      // In two steps: a shift by 32 is none.
      const bool begins_so = ((key ^ prefix) >> shift >> kDigitBits) == 0;
      if (begins_so && key >= least_) mine[(key >> shift) % kDigits * kThreads] += weigh(x);
    }
    __syncthreads();
    for (unsigned digit = threadIdx.x / kWarpLanes; digit < kDigits; digit += kWarps) {
      double sum = 0;
      for (unsigned i = threadIdx.x % kWarpLanes; i < kThreads; i += kWarpLanes) {
        sum += bins_[digit * kThreads + i];
      }
      sum = WarpSum(sum);
      if (threadIdx.x % kWarpLanes == 0) scratch_->of_digits[digit] = sum;
    }
    __syncthreads();
  }

  // Calls visit(token, weight) for tokens that may be drawn, until it says true.
  template <typename Visit>
  __device__ void Walk(unsigned begin, unsigned end, unsigned equals_before, const Visit& visit) {
    for (unsigned i = begin; i < end; ++i) {
      const float x = At(i);
      const uint32_t key = KeyOf(x);
      if (key < least_ || (key == least_ && equals_before++ >= equals_)) continue;
      const double weight = WeightOf(x);
      if (weight > 0 && visit(i, weight)) return;
    }
  }

  const float* logits_;
  unsigned vocab_;
  float temperature_;
  Scratch* scratch_;
  double* bins_;
  float top_;
  uint32_t least_ = 0;
  unsigned equals_ = ~0u;
};

__global__ void __launch_bounds__(kThreads, kBlocks)
    SampleKernel(const float* logits, unsigned vocab, const SampleRow* rows, int32_t* tokens) {
  PRECIS_DYNAMIC_SHARED(double, bins);
  __shared__ Scratch scratch;
  const SampleRow ask = rows[blockIdx.x];
  Row row(logits + size_t{blockIdx.x} * vocab, vocab, ask.temperature, &scratch, bins);
  if (ask.top_k > 0 && ask.top_k < vocab) row.KeepTopK(ask.top_k);
  if (ask.top_p < 1.0f) row.KeepTopP(ask.top_p);
  const int32_t token = row.Draw(CounterUniform(ask.seed, ask.sequence, ask.position));
  if (threadIdx.x == 0) tokens[blockIdx.x] = token;
}

}  // namespace

void SampleTokens(const float* logits, size_t vocab, std::span<const SampleRow> rows,
                  int32_t* tokens, cudaStream_t stream) {
  if (rows.empty()) return;
  PRECIS_LAUNCH(SampleKernel, Blocks(rows.size(), 1), kThreads, kDigits * kThreads * sizeof(double),
                stream, logits, static_cast<unsigned>(vocab), rows.data(), tokens);
}

}  // namespace precis::cuda
