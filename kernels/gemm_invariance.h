// Finds the buckets of a GEMM whose rows have the same bits whatever the number of rows and
// wherever in the bucket a row stands.
//
// Called by backends that prepare their GEMMs. Thread rule: pure but for the caller's `run`.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "kernels/dtype.h"

namespace precis {

struct GemmShape {
  size_t n;
  size_t k;
  DType dtype;
  bool bias = false;  // each row of a product gets one
  auto operator<=>(const GemmShape&) const = default;
};

// Runs bucket `i`: in [rows_i, k] of the shape's type, out [rows_i, n].
using RunBucket = std::function<void(size_t i, bool accumulate, const void* in, float* out)>;

// rows: ascending. True for the buckets of the largest set that agrees in every bit; of equal sets
// the one with the larger bucket. Never all false: a single row agrees with itself.
std::vector<bool> FindInvariantBuckets(const GemmShape& shape, const std::vector<size_t>& rows,
                                       const RunBucket& run);

}  // namespace precis
