// What a decode step of so many rows costs, as measured: at load the shape of the curve, while
// serving its scale (documents of another length, a busy machine) and, more slowly, its shape. Rows
// are padded to buckets by the GEMMs, so rows up to a bucket's end cost the same.
//
// Owner: DraftPlanner. Thread rule: the step thread. Depends on what it receives and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace precis {

class StepCost {
 public:
  // us[i]: microseconds measured with Buckets(max_rows)[i] rows (the last with max_rows), at least
  // one; after the last that was measured, cost is taken to be proportional to rows.
  StepCost(uint32_t max_rows, std::span<const double> us);

  // 1, 2, 4, 8, then multiples of 16, the last holds max_rows: the row buckets of the GEMMs.
  static std::vector<uint32_t> Buckets(uint32_t max_rows);

  // rows: 1 .. max_rows.
  double Us(uint32_t rows) const;
  // Little is known of what `rows` rows cost against others: a step of them would tell.
  bool Uncertain(uint32_t rows) const;
  // A step of `rows` rows took `us`. Returns the time it counts for: outliers are cut.
  double Observe(uint32_t rows, double us);

 private:
  size_t BucketOf(uint32_t rows) const;

  std::vector<uint32_t> buckets_;  // ascending
  std::vector<double> shape_;      // by bucket, microseconds as measured at load, corrected since
  std::vector<double> shape_variance_;  // of its logarithm
  double scale_ = 1;
  double scale_variance_;  // of its logarithm
};

}  // namespace precis
