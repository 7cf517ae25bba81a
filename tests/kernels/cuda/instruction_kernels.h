// Kernels that do nothing but an instruction of kernels/cuda/ptx.h, for tests of each on the
// emulator and on a device. All memory is the kernel's.
//
// Thread rule: one test thread.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace precis {

// Chunk i of 16 bytes goes through shared memory, the first source_bytes[i] of it. One warp at
// most.
void RunCopies(const std::byte* in, const unsigned* source_bytes, unsigned chunks, std::byte* out,
               cudaStream_t stream);
// `groups` copies of 16 bytes, each a group of its own; waits for one after the other. At most 4.
void RunGroupsOfCopies(const std::byte* in, unsigned groups, std::byte* out, cudaStream_t stream);
// rows: 4 matrices of [8, 8]. out: [32 lanes, 4].
void RunLoadMatrices(bool transposed, const uint16_t* rows, unsigned* out, cudaStream_t stream);
// d += a b, `count` times: a [16, 16] and b [16, 8] in bf16, d [16, 8], by rows.
void RunMultiplications(const uint16_t* a, const uint16_t* b, unsigned count, float* d,
                        cudaStream_t stream);

}  // namespace precis
