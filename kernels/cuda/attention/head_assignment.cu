// SumKeySquares and AssignHeads: a few numbers a row, in double and rounded step by step as
// kernels/head_assignment.cc does it, so that both devices assign the query heads alike.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 32;

__device__ float* KeySquaresAt(const KvPool& pool, const KvRegion& r, const int32_t* pages,
                               const PagedRow& row, uint32_t key) {
  const auto page = static_cast<size_t>(pages[row.first_page + key / r.slots]);
  std::byte* sums = pool.base + page * pool.page_bytes + r.key_squares_offset;
  return reinterpret_cast<float*>(sums) + size_t{key % r.slots} * r.num_kv_heads;
}

__device__ double Plus(double a, double b) { return __dadd_rn(a, b); }
__device__ double Times(double a, double b) { return __dmul_rn(a, b); }

__device__ double SumOfSquares(const float* values, unsigned n) {
  double sums[4] = {0, 0, 0, 0};
  unsigned i = 0;
  for (; i + 4 <= n; i += 4) {
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) {
      const double x = values[i + j];
      sums[j] = Plus(sums[j], Times(x, x));
    }
  }
  for (; i < n; ++i) sums[0] = Plus(sums[0], Times(values[i], values[i]));
  return Plus(Plus(sums[0], sums[1]), Plus(sums[2], sums[3]));
}

// A block a run of rows that share a page table, whose keys follow one another; a thread a KV head.
__global__ void __launch_bounds__(kThreads)
    SumKeySquaresKernel(const float* k, size_t row_stride, const PagedRow* rows, uint32_t num_rows,
                        const int32_t* pages, KvPool pool, KvRegion r) {
  const uint32_t first = blockIdx.x;
  if (first > 0 && rows[first - 1].first_page == rows[first].first_page) return;
  for (uint32_t g = threadIdx.x; g < r.num_kv_heads; g += kThreads) {
    for (uint32_t i = first; i < num_rows && rows[i].first_page == rows[first].first_page; ++i) {
      const uint32_t key = rows[i].num_keys - 1;
      double sum = 0;
      if (key > 0) sum = KeySquaresAt(pool, r, pages, rows[i], key - 1)[g];
      const float* values = k + i * row_stride + size_t{g} * r.head_dim;
      KeySquaresAt(pool, r, pages, rows[i], key)[g] =
          static_cast<float>(Plus(sum, SumOfSquares(values, r.head_dim)));
    }
  }
}

// The share of every KV head, up to a common factor.
class ShareOf {
 public:
  __device__ ShareOf(const float* key_squares, uint32_t groups, HeadShares shares,
                     const float* cached_norms)
      : key_squares_(key_squares), shares_(shares), cached_norms_(cached_norms) {
    if (shares != HeadShares::kScaledNorm) return;
    least_ = Norm(0);
    double most = least_;
    for (uint32_t g = 1; g < groups; ++g) {
      least_ = Norm(g) < least_ ? Norm(g) : least_;
      most = most < Norm(g) ? Norm(g) : most;
    }
    range_ = most - least_;
  }

  __device__ double operator()(uint32_t g) const {
    if (shares_ == HeadShares::kScaledNorm) return (Norm(g) - least_) / range_;
    if (shares_ == HeadShares::kNormDifference) return fabs(Norm(g) - cached_norms_[g]);
    return Plus(Times(0.9, Norm(g)), Times(0.1, cached_norms_[g]));
  }

 private:
  __device__ double Norm(uint32_t g) const { return sqrt(static_cast<double>(key_squares_[g])); }

  const float* key_squares_;
  HeadShares shares_;
  const float* cached_norms_;
  double least_ = 0;
  double range_ = 1;
};

// counts[0 .. groups) add up to num_heads; of equals the first is changed.
__device__ void RoundShares(const ShareOf& share, double sum, uint32_t num_heads, uint32_t groups,
                            uint32_t* counts) {
  uint32_t assigned = 0;
  for (uint32_t g = 0; g < groups; ++g) {
    counts[g] = static_cast<uint32_t>(rint(Times(share(g) / sum, num_heads)));
    assigned += counts[g];
  }
  while (assigned != num_heads) {
    const bool too_many = assigned > num_heads;
    uint32_t at = 0;
    for (uint32_t g = 1; g < groups; ++g) {
      if (too_many ? counts[g] > counts[at] : counts[g] < counts[at]) at = g;
    }
    counts[at] += too_many ? ~0u : 1u;
    assigned += too_many ? ~0u : 1u;
  }
}

// A thread a row.
__global__ void __launch_bounds__(kThreads)
    AssignHeadsKernel(const PagedRow* rows, uint32_t num_rows, const int32_t* pages, KvPool pool,
                      KvRegion r, HeadShares shares, const float* cached_norms, uint32_t num_heads,
                      uint32_t* begin) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= num_rows) return;
  const uint32_t groups = r.num_kv_heads;
  const float* sums = KeySquaresAt(pool, r, pages, rows[i], rows[i].num_keys - 1);
  const ShareOf share(sums, groups, shares, cached_norms);
  uint32_t* mine = begin + size_t{i} * (groups + 1);
  double sum = 0;
  for (uint32_t g = 0; g < groups; ++g) sum = Plus(sum, share(g));
  // NaN too, of equal norms or of keys that are not finite.
  if (sum > 0 && sum <= 1.7976931348623157e308) {
    RoundShares(share, sum, num_heads, groups, mine + 1);
  } else {
    for (uint32_t g = 0; g < groups; ++g) {
      mine[g + 1] = num_heads / groups + (g < num_heads % groups ? 1 : 0);
    }
  }
  mine[0] = 0;
  for (uint32_t g = 0; g < groups; ++g) mine[g + 1] += mine[g];
}

}  // namespace

void SumKeySquares(const SumKeySquaresParams& p, cudaStream_t stream) {
  if (p.rows.empty()) return;
  PRECIS_LAUNCH(SumKeySquaresKernel, Blocks(p.rows.size(), 1), kThreads, 0, stream, p.k,
                p.row_stride, p.rows.data(), static_cast<uint32_t>(p.rows.size()), p.pages.data(),
                p.pool, p.region);
}

void AssignHeads(const AssignHeadsParams& p, cudaStream_t stream) {
  if (p.rows.empty()) return;
  PRECIS_LAUNCH(AssignHeadsKernel, Blocks(p.rows.size(), kThreads), kThreads, 0, stream,
                p.rows.data(), static_cast<uint32_t>(p.rows.size()), p.pages.data(), p.pool,
                p.region, p.shares, p.cached_norms.data(), p.num_heads, p.begin.data());
}

}  // namespace precis::cuda
