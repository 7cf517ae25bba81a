// The instructions that CUDA C++ has no word for, one function each (sm_80 and newer). The same
// functions for a CPU: tests/simt/shadow/kernels/cuda/ptx.h.
//
// Called by kernels. Thread rule: LoadMatrices and MultiplyBF16 by all lanes of a warp together.
#pragma once

#include "kernels/cuda/launch.h"

namespace precis::cuda {

// 16 bytes, of which those past `source_bytes` become zero; both addresses aligned to 16. There
// after WaitForCopies() and a barrier.
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global,
                                            unsigned source_bytes = 16) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global),
               "r"(source_bytes)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most kLeft of the groups that this thread committed last are under way.
template <int kLeft>
__device__ __forceinline__ void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// Four 8x8 matrices of 16-bit elements; lane 8 j + i gives the address of row i of matrix j,
// aligned to 16 bytes. Lane 4 g + t gets elements (g, 2t) and (g, 2t + 1) of each, or (2t, g) and
// (2t + 1, g).
template <bool kTransposed>
__device__ __forceinline__ void LoadMatrices(unsigned (&r)[4], const void* row) {
  const auto from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
  }
}

// D = A (16 x 16, by rows) * B (16 x 8, by columns) + D in bf16 with sums in f32. Lane 4 g + t
// holds of A words (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), of B words (2t, g), (2t + 8,
// g), of D elements (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
__device__ __forceinline__ void MultiplyBF16(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace precis::cuda
