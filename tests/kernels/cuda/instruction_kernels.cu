#include "tests/kernels/cuda/instruction_kernels.h"

#include "kernels/cuda/ptx.h"

namespace precis {
namespace {

constexpr unsigned kLanes = 32;
constexpr unsigned kChunk = 16;
constexpr unsigned kMostGroups = 4;

__global__ void __launch_bounds__(kLanes)
    CopyKernel(const std::byte* in, const unsigned* source_bytes, std::byte* out) {
  __shared__ __align__(16) std::byte shared[kLanes * kChunk];
  const unsigned at = threadIdx.x * kChunk;
  cuda::CopyAsync16(shared + at, in + at, source_bytes[threadIdx.x]);
  cuda::CommitCopies();
  cuda::WaitForCopies<0>();
  __syncthreads();
  // Another thread's chunk: it is there for all.
  const unsigned other = (blockDim.x - 1 - threadIdx.x) * kChunk;
  for (unsigned i = 0; i < kChunk; ++i) out[other + i] = shared[other + i];
}

template <int kLeft>
__device__ void TakeWhenThere(unsigned groups, const std::byte* shared, std::byte* out) {
  if (groups <= kLeft) return;
  cuda::WaitForCopies<kLeft>();
  const unsigned at = (groups - 1 - kLeft) * kChunk;
  for (unsigned i = 0; i < kChunk; ++i) out[at + i] = shared[at + i];
}

__global__ void __launch_bounds__(kLanes)
    GroupsKernel(const std::byte* in, unsigned groups, std::byte* out) {
  __shared__ __align__(16) std::byte shared[kMostGroups * kChunk];
  for (unsigned i = 0; i < groups; ++i) {
    cuda::CopyAsync16(shared + i * kChunk, in + i * kChunk);
    cuda::CommitCopies();
  }
  TakeWhenThere<3>(groups, shared, out);
  TakeWhenThere<2>(groups, shared, out);
  TakeWhenThere<1>(groups, shared, out);
  TakeWhenThere<0>(groups, shared, out);
}

template <bool kTransposed>
__global__ void __launch_bounds__(kLanes) LoadKernel(const uint16_t* rows, unsigned* out) {
  __shared__ __align__(16) uint16_t shared[kLanes * 8];
  const unsigned lane = threadIdx.x;
  for (unsigned c = 0; c < 8; ++c) shared[lane * 8 + c] = rows[lane * 8 + c];
  __syncwarp();
  unsigned r[4];
  cuda::LoadMatrices<kTransposed>(r, shared + lane * 8);
  for (unsigned j = 0; j < 4; ++j) out[lane * 4 + j] = r[j];
}

// Where lane 4 g + t has its values, in the words of the PTX manual for m16n8k16: of a (g or g + 8,
// 2t .. 2t + 1 and 8 further), of b (2t .. 2t + 1 and 8 further, g), of d (g or g + 8, 2t .. 2t +
// 1).
__global__ void __launch_bounds__(kLanes)
    MultiplyKernel(const uint16_t* a, const uint16_t* b, float* d) {
  a += blockIdx.x * 256;
  b += blockIdx.x * 128;
  d += blockIdx.x * 128;
  const unsigned g = threadIdx.x / 4;
  const unsigned t = threadIdx.x % 4;
  unsigned av[4];
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned at = (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
    av[i] = a[at] | static_cast<unsigned>(a[at + 1]) << 16;
  }
  unsigned bv[2];
  for (unsigned i = 0; i < 2; ++i) {
    const unsigned at = (2 * t + i * 8) * 8 + g;
    bv[i] = b[at] | static_cast<unsigned>(b[at + 8]) << 16;
  }
  float dv[4];
  for (unsigned i = 0; i < 4; ++i) dv[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  cuda::MultiplyBF16(dv, av, bv[0], bv[1]);
  for (unsigned i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = dv[i];
}

}  // namespace

void RunCopies(const std::byte* in, const unsigned* source_bytes, unsigned chunks, std::byte* out,
               cudaStream_t stream) {
  PRECIS_LAUNCH(CopyKernel, 1, chunks, 0, stream, in, source_bytes, out);
}

void RunGroupsOfCopies(const std::byte* in, unsigned groups, std::byte* out, cudaStream_t stream) {
  PRECIS_LAUNCH(GroupsKernel, 1, 1, 0, stream, in, groups, out);
}

void RunLoadMatrices(bool transposed, const uint16_t* rows, unsigned* out, cudaStream_t stream) {
  if (transposed) {
    PRECIS_LAUNCH(LoadKernel<true>, 1, kLanes, 0, stream, rows, out);
  } else {
    PRECIS_LAUNCH(LoadKernel<false>, 1, kLanes, 0, stream, rows, out);
  }
}

void RunMultiplications(const uint16_t* a, const uint16_t* b, unsigned count, float* d,
                        cudaStream_t stream) {
  PRECIS_LAUNCH(MultiplyKernel, count, kLanes, 0, stream, a, b, d);
}

}  // namespace precis
