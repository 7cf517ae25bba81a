#include "engine/drafting/step_cost.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "common/check.h"

namespace precis {
namespace {

// Variances of logarithms: of a step's time, of the scale and of a bucket's shape at first, and
// what a step adds to the latter two.
constexpr double kNoise = 0.02;
constexpr double kScaleAtFirst = 4;
constexpr double kScaleDrift = 0.003;
constexpr double kShapeAtFirst = 0.1;
constexpr double kShapeDrift = 1e-4;
// A shape that is known less well than this is worth a step to look.
constexpr double kUncertain = 0.01;
// A step that takes longer than this was interrupted.
constexpr double kMostSurprise = 2.0;

}  // namespace

std::vector<uint32_t> StepCost::Buckets(uint32_t max_rows) {
  std::vector<uint32_t> buckets = {1};
  while (buckets.back() < max_rows) {
    const uint32_t last = buckets.back();
    buckets.push_back(last < 16 ? 2 * last : last + 16);
  }
  return buckets;
}

StepCost::StepCost(uint32_t max_rows, std::span<const double> us) : buckets_(Buckets(max_rows)) {
  PRECIS_CHECK(!us.empty());
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (i == 0) {
      shape_.push_back(std::max(us[0], 1e-3));
      continue;
    }
    // More rows never cost less, and never more than one step after the other.
    const double least = shape_.back();
    const double most = least * buckets_[i] / buckets_[i - 1];
    shape_.push_back(i < us.size() ? std::clamp(us[i], least, most) : most);
  }
  shape_variance_.assign(buckets_.size(), kShapeAtFirst);
  scale_variance_ = kScaleAtFirst;
}

size_t StepCost::BucketOf(uint32_t rows) const {
  PRECIS_CHECK(rows >= 1 && rows <= buckets_.back());
  return static_cast<size_t>(std::ranges::lower_bound(buckets_, rows) - buckets_.begin());
}

double StepCost::Us(uint32_t rows) const { return scale_ * shape_[BucketOf(rows)]; }

bool StepCost::Uncertain(uint32_t rows) const {
  return shape_variance_[BucketOf(rows)] > kUncertain;
}

// A Kalman filter of two numbers: what is unexpected is shared between scale and shape by how
// little is known of each.
double StepCost::Observe(uint32_t rows, double us) {
  const size_t bucket = BucketOf(rows);
  const double expected = scale_ * shape_[bucket];
  us = std::clamp(us, expected / kMostSurprise, expected * kMostSurprise);
  const double surprise = std::log(us / expected);
  scale_variance_ += kScaleDrift;
  for (double& variance : shape_variance_) variance += kShapeDrift;
  const double total = scale_variance_ + shape_variance_[bucket] + kNoise;
  const double scale_share = scale_variance_ / total;
  const double shape_share = shape_variance_[bucket] / total;
  scale_ *= std::exp(scale_share * surprise);
  shape_[bucket] *= std::exp(shape_share * surprise);
  scale_variance_ *= 1 - scale_share;
  shape_variance_[bucket] *= 1 - shape_share;
  return us;
}

}  // namespace precis
