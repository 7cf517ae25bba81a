// What kernels/cuda/ptx.h has a function for, as tests/simt does it: copies that arrive later, and
// matrices over the lanes of a warp.
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/ptx.h"
#include "kernels/dtype.h"

namespace precis::simt {
namespace {

constexpr cudaStream_t kStream = nullptr;

template <bool kWait>
void CopyThroughShared(const float* in, float* out, unsigned floats) {
  PRECIS_DYNAMIC_SHARED(float, shared);
  const unsigned at = threadIdx.x * 4;
  const unsigned left = at < floats ? floats - at : 0;
  cuda::CopyAsync16(shared + at, in + at, 4 * (left < 4 ? left : 4));
  cuda::CommitCopies();
  if (kWait) cuda::WaitForCopies<0>();
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 4 * blockDim.x; i += blockDim.x) out[i] = shared[i];
}

TEST(CopyAsync, ArrivesWhenWaitedForAndIsNaNBefore) {
  alignas(16) float in[128];
  for (int i = 0; i < 128; ++i) in[i] = static_cast<float>(i + 1);
  InAllSchedules([&in] {
    float out[128] = {};
    PRECIS_LAUNCH(CopyThroughShared<true>, 1, 32, sizeof(in), kStream, in, out, 126u);
    for (int i = 0; i < 128; ++i) EXPECT_EQ(out[i], i < 126 ? in[i] : 0);
    PRECIS_LAUNCH(CopyThroughShared<false>, 1, 32, sizeof(in), kStream, in, out, 126u);
    for (int i = 0; i < 128; ++i) EXPECT_TRUE(std::isnan(out[i]));
  });
}

// Two groups; waits until one is left.
void WaitForTheFirst(const float* in, float* out) {
  PRECIS_DYNAMIC_SHARED(float, shared);
  for (int i = 0; i < 2; ++i) {
    cuda::CopyAsync16(shared + 4 * i, in + 4 * i);
    cuda::CommitCopies();
  }
  cuda::WaitForCopies<1>();
  for (int i = 0; i < 8; ++i) out[i] = shared[i];
}

TEST(CopyAsync, LaterGroupsStayUnderWay) {
  alignas(16) const float in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  float out[8] = {};
  PRECIS_LAUNCH(WaitForTheFirst, 1, 1, sizeof(in), kStream, in, out);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(i < 4 ? out[i] == in[i] : std::isnan(out[i])) << i;
}

TEST(CopyAsync, RefusesAddressesThatAreNotAligned) {
  alignas(16) float in[32] = {};
  float out[32] = {};
  const auto launch = [&] {
    PRECIS_LAUNCH(CopyThroughShared<true>, 1, 4, 128, kStream, in + 1, out, 16u);
  };
  EXPECT_THAT(launch, ::testing::ThrowsMessage<std::runtime_error>(
                          ::testing::HasSubstr("not aligned to its 16 bytes")));
}

// Four matrices of 8 x 8, element (matrix, row, column) being 64 matrix + 8 row + column.
template <bool kTransposed, bool kSwizzled>
void LoadFour(unsigned* out) {
  __shared__ __align__(128) uint16_t rows[32 * 64];  // a row of 128 bytes each
  const unsigned lane = threadIdx.x;
  const unsigned chunk = kSwizzled ? lane % 8 : 0;
  for (unsigned c = 0; c < 8; ++c) {
    rows[lane * 64 + chunk * 8 + c] = static_cast<uint16_t>(8 * lane + c);
  }
  __syncthreads();
  unsigned r[4];
  cuda::LoadMatrices<kTransposed>(r, rows + lane * 64 + chunk * 8);
  for (int j = 0; j < 4; ++j) out[lane * 4 + static_cast<unsigned>(j)] = r[j];
}

TEST(LoadMatrices, GivesEachLaneItsTwoElementsOfEachMatrix) {
  InAllSchedules([] {
    unsigned by_rows[128];
    unsigned transposed[128];
    PRECIS_LAUNCH((LoadFour<false, false>), 1, 32, 0, kStream, by_rows);
    PRECIS_LAUNCH((LoadFour<true, true>), 1, 32, 0, kStream, transposed);
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned g = lane / 4;
      const unsigned t = lane % 4;
      for (unsigned j = 0; j < 4; ++j) {
        const auto element = [j](unsigned row, unsigned column) {
          return 64 * j + 8 * row + column;
        };
        EXPECT_EQ(by_rows[lane * 4 + j], element(g, 2 * t) | element(g, 2 * t + 1) << 16);
        EXPECT_EQ(transposed[lane * 4 + j], element(2 * t, g) | element(2 * t + 1, g) << 16);
      }
    }
  });
}

TEST(LoadMatrices, CountsRowsThatMeetInABank) {
  unsigned out[128];
  CountedMatrixLoads().matrices = CountedMatrixLoads().conflicts = 0;
  PRECIS_LAUNCH((LoadFour<false, true>), 1, 32, 0, kStream, out);
  EXPECT_EQ(CountedMatrixLoads().matrices, 4u);
  EXPECT_EQ(CountedMatrixLoads().conflicts, 0u);
  PRECIS_LAUNCH((LoadFour<false, false>), 1, 32, 0, kStream, out);
  EXPECT_EQ(CountedMatrixLoads().conflicts, 4u * 7);
}

// The layouts as published for m16n8k16, as (lane, value) -> index: A ((4,8),(2,2,2)) :
// ((32,1),(16,8,128)) over m + 16 k; B ((4,8),(2,2)) : ((16,1),(8,64)) over n + 8 k; D
// ((4,8),(2,2)) :
// ((32,1),(16,8)) over m + 16 n.
void MultiplyOnce(const float* a, const float* b, float* d) {
  const unsigned t = threadIdx.x % 4;
  const unsigned g = threadIdx.x / 4;
  uint16_t av[8];
  uint16_t bv[4];
  for (unsigned v = 0; v < 8; ++v) {
    av[v] = F32ToBF16(a[32 * t + g + 16 * (v & 1) + 8 * (v >> 1 & 1) + 128 * (v >> 2)]);
  }
  for (unsigned v = 0; v < 4; ++v) {
    bv[v] = F32ToBF16(b[16 * t + g + 8 * (v & 1) + 64 * (v >> 1)]);
  }
  unsigned aw[4];
  unsigned bw[2];
  std::memcpy(aw, av, sizeof(aw));
  std::memcpy(bw, bv, sizeof(bw));
  float sums[4];
  for (unsigned v = 0; v < 4; ++v) sums[v] = d[32 * t + g + 16 * (v & 1) + 8 * (v >> 1)];
  cuda::MultiplyBF16(sums, aw, bw[0], bw[1]);
  for (unsigned v = 0; v < 4; ++v) d[32 * t + g + 16 * (v & 1) + 8 * (v >> 1)] = sums[v];
}

TEST(MultiplyBF16, AddsTheProductOfTwoMatrices) {
  float a[16 * 16];
  float b[16 * 8];
  for (int i = 0; i < 256; ++i) a[i] = static_cast<float>(i * 37 % 17 - 8);
  for (int i = 0; i < 128; ++i) b[i] = static_cast<float>(i * 29 % 15 - 7);
  InAllSchedules([&] {
    float d[16 * 8];
    for (int i = 0; i < 128; ++i) d[i] = static_cast<float>(i);
    PRECIS_LAUNCH(MultiplyOnce, 1, 32, 0, kStream, a, b, d);
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 8; ++n) {
        float want = static_cast<float>(m + 16 * n);
        for (int k = 0; k < 16; ++k) want += a[m + 16 * k] * b[n + 8 * k];
        EXPECT_EQ(d[m + 16 * n], want);
      }
    }
  });
}

}  // namespace
}  // namespace precis::simt
