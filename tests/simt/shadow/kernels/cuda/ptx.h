// Takes the place of kernels/cuda/ptx.h under emulation: every instruction with what it does to
// memory and to the fragments of a warp.
//
// Included by kernels/cuda. Thread rule: as there.
#pragma once

#include "kernels/cuda/launch.h"
#include "tests/simt/async_copy.h"
#include "tests/simt/matrix.h"

namespace precis::cuda {

inline void CopyAsync16(void* shared, const void* global, unsigned source_bytes = 16) {
  simt::CopyAsync(shared, global, 16, source_bytes);
}
inline void CommitCopies() { simt::CommitCopies(); }
template <int kLeft>
inline void WaitForCopies() {
  simt::WaitForCopies(kLeft);
}

template <bool kTransposed>
inline void LoadMatrices(unsigned (&r)[4], const void* row) {
  const simt::MatrixRows rows = simt::ShareMatrixRows(row);
  const int lane = simt::Lane();
  for (int j = 0; j < 4; ++j) {
    const uint16_t* low;
    const uint16_t* high;
    if constexpr (kTransposed) {
      low = rows.at(j * 8 + 2 * (lane % 4)) + lane / 4;
      high = rows.at(j * 8 + 2 * (lane % 4) + 1) + lane / 4;
    } else {
      low = rows.at(j * 8 + lane / 4) + 2 * (lane % 4);
      high = low + 1;
    }
    r[j] = *low | static_cast<unsigned>(*high) << 16;
  }
}

inline void MultiplyBF16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  simt::MultiplyBF16(d, a, b0, b1);
}

}  // namespace precis::cuda
