// What only the emulator tells of the functions of kernels/cuda/ptx.h: copies that nobody waited
// for, addresses that are not aligned, rows that meet in a bank. What they do is in
// tests/kernels/cuda/instructions_test.cc.
#include <cmath>
#include <stdexcept>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/ptx.h"

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

// Four matrices of 8 x 8, whose rows are 128 bytes apart.
template <bool kSwizzled>
void LoadFour(unsigned* out) {
  __shared__ __align__(128) uint16_t rows[32 * 64];  // a row of 128 bytes each
  const unsigned lane = threadIdx.x;
  const unsigned chunk = kSwizzled ? lane % 8 : 0;
  for (unsigned c = 0; c < 8; ++c) {
    rows[lane * 64 + chunk * 8 + c] = static_cast<uint16_t>(8 * lane + c);
  }
  __syncthreads();
  unsigned r[4];
  cuda::LoadMatrices<false>(r, rows + lane * 64 + chunk * 8);
  for (int j = 0; j < 4; ++j) out[lane * 4 + static_cast<unsigned>(j)] = r[j];
}

TEST(LoadMatrices, CountsRowsThatMeetInABank) {
  unsigned out[128];
  CountedMatrixLoads().matrices = CountedMatrixLoads().conflicts = 0;
  PRECIS_LAUNCH(LoadFour<true>, 1, 32, 0, kStream, out);
  EXPECT_EQ(CountedMatrixLoads().matrices, 4u);
  EXPECT_EQ(CountedMatrixLoads().conflicts, 0u);
  PRECIS_LAUNCH(LoadFour<false>, 1, 32, 0, kStream, out);
  EXPECT_EQ(CountedMatrixLoads().conflicts, 4u * 7);
}

}  // namespace
}  // namespace precis::simt
