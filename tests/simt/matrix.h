// ldmatrix and mma.sync under emulation: how 8x8 matrices and fragments lie over the lanes of a
// warp, and which loads would meet in a bank of shared memory.
//
// Called by the shadow of kernels/cuda/ptx.h. Thread rule: that of a CUDA thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "tests/simt/block.h"

namespace precis::simt {

// Of all ldmatrix so far.
struct MatrixLoads {
  std::atomic<uint64_t> matrices{0};
  std::atomic<uint64_t> conflicts{0};  // rows that wait because another has their banks
};
MatrixLoads& CountedMatrixLoads();

// The rows that the lanes of a warp have given: lane 8 j + i row i of matrix j.
struct MatrixRows {
  const LaneValue* lanes;
  const uint16_t* at(int lane) const;
};
MatrixRows ShareMatrixRows(const void* row);

// D = A (16 x 16, by rows) * B (16 x 8, by columns) + D: products and their sum in double, rounded
// once. A device rounds its partial sums in an order of its own.
void MultiplyBF16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);

}  // namespace precis::simt
