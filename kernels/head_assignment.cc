#include "kernels/head_assignment.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace precis {
namespace {

// What the slot of key `key` of a row keeps.
float* KeySquaresAt(const KvPool& pool, const KvRegion& region, std::span<const int32_t> pages,
                    const PagedRow& row, size_t key) {
  const auto page = static_cast<size_t>(pages[row.first_page + key / region.slots]);
  std::byte* sums = pool.base + page * pool.page_bytes + region.key_squares_offset;
  return reinterpret_cast<float*>(sums) + key % region.slots * region.num_kv_heads;
}

// In double: its rounding must not decide a split that the norms themselves decide otherwise.
double SumOfSquares(const float* values, size_t n) {
  double sums[4] = {0, 0, 0, 0};
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (size_t j = 0; j < 4; ++j) sums[j] += double{values[i + j]} * values[i + j];
  }
  for (; i < n; ++i) sums[0] += double{values[i]} * values[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// The share of every KV head, up to a common factor.
class Shares {
 public:
  Shares(std::span<const float> key_squares, HeadShares shares, std::span<const float> cached_norms)
      : key_squares_(key_squares), shares_(shares), cached_norms_(cached_norms) {
    if (shares != HeadShares::kScaledNorm) return;
    least_ = Norm(0);
    double most = least_;
    for (size_t g = 1; g < key_squares.size(); ++g) {
      least_ = std::min(least_, Norm(g));
      most = std::max(most, Norm(g));
    }
    range_ = most - least_;
  }

  // Of equal norms none can be told from another: there 0 is divided by 0.
  double operator()(size_t g) const {
    switch (shares_) {
      case HeadShares::kScaledNorm:
        return (Norm(g) - least_) / range_;
      case HeadShares::kNormDifference:
        return std::abs(Norm(g) - cached_norms_[g]);
      case HeadShares::kNormAverage:
        return 0.9 * Norm(g) + 0.1 * cached_norms_[g];
    }
    return 0;
  }

 private:
  double Norm(size_t g) const { return std::sqrt(double{key_squares_[g]}); }

  const std::span<const float> key_squares_;
  const HeadShares shares_;
  const std::span<const float> cached_norms_;
  double least_ = 0;
  double range_ = 1;
};

// Counts that add up to num_heads. Of equals the first is changed.
void RoundShares(const Shares& shares, double sum, uint32_t num_heads, std::span<uint32_t> counts) {
  uint32_t assigned = 0;
  for (size_t g = 0; g < counts.size(); ++g) {
    // To nearest, halves to even: the mode that every thread is in.
    counts[g] = static_cast<uint32_t>(std::nearbyint(shares(g) / sum * num_heads));
    assigned += counts[g];
  }
  for (; assigned > num_heads; --assigned) --*std::ranges::max_element(counts);
  for (; assigned < num_heads; ++assigned) ++*std::ranges::min_element(counts);
}

void AssignEvenly(uint32_t num_heads, std::span<uint32_t> counts) {
  const auto groups = static_cast<uint32_t>(counts.size());
  for (uint32_t g = 0; g < groups; ++g) {
    counts[g] = num_heads / groups + (g < num_heads % groups ? 1 : 0);
  }
}

}  // namespace

void SumKeySquaresOfRows(const SumKeySquaresParams& p) {
  const KvRegion& r = p.region;
  PRECIS_CHECK(r.keeps_key_squares);
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const PagedRow& row = p.rows[i];
    const size_t key = row.num_keys - size_t{1};
    float* to = KeySquaresAt(p.pool, r, p.pages, row, key);
    const float* before = key > 0 ? KeySquaresAt(p.pool, r, p.pages, row, key - 1) : nullptr;
    for (size_t g = 0; g < r.num_kv_heads; ++g) {
      const double sum = before == nullptr ? 0.0 : double{before[g]};
      to[g] = static_cast<float>(sum +
                                 SumOfSquares(p.k + i * p.row_stride + g * r.head_dim, r.head_dim));
    }
  }
}

void AssignHeadsByNorms(std::span<const float> key_squares, HeadShares shares,
                        std::span<const float> cached_norms, uint32_t num_heads,
                        std::span<uint32_t> begin) {
  const Shares of(key_squares, shares, cached_norms);
  const std::span<uint32_t> counts = begin.subspan(1);
  double sum = 0;
  for (size_t g = 0; g < counts.size(); ++g) sum += of(g);
  // NaN too, of equal norms or of keys that are not finite: their row fails by its scores.
  if (sum > 0 && std::isfinite(sum)) {
    RoundShares(of, sum, num_heads, counts);
  } else {
    AssignEvenly(num_heads, counts);
  }
  begin[0] = 0;
  for (size_t g = 0; g < counts.size(); ++g) begin[g + 1] += begin[g];
}

void AssignHeadsOfRows(const AssignHeadsParams& p) {
  const KvRegion& r = p.region;
  const size_t width = r.num_kv_heads + size_t{1};
  PRECIS_CHECK(r.keeps_key_squares && p.begin.size() == p.rows.size() * width);
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const PagedRow& row = p.rows[i];
    const std::span<uint32_t> begin = p.begin.subspan(i * width, width);
    // Beams and drafts over one source have its split.
    if (i > 0 && row.first_page == p.rows[i - 1].first_page &&
        row.num_keys == p.rows[i - 1].num_keys) {
      std::ranges::copy(p.begin.subspan((i - 1) * width, width), begin.begin());
      continue;
    }
    const float* sums = KeySquaresAt(p.pool, r, p.pages, row, row.num_keys - size_t{1});
    AssignHeadsByNorms({sums, r.num_kv_heads}, p.shares, p.cached_norms, p.num_heads, begin);
  }
}

}  // namespace precis
