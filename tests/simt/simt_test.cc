// The emulator: that it runs what CUDA would run, and sees what CUDA would suffer in silence.
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/launch.h"

namespace precis::simt {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr cudaStream_t kStream = nullptr;

void WriteRanks(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] += static_cast<int>(block * threads + thread) + 1;
}

TEST(Launch, RunsEveryThreadOfEveryBlockOnce) {
  InAllSchedules([] {
    std::vector<int> out(2 * 3 * 2 * 5 * 7 * 3);
    PRECIS_LAUNCH(WriteRanks, dim3(2, 3, 2), dim3(5, 7, 3), 0, kStream, out.data());
    std::vector<int> want(out.size());
    std::iota(want.begin(), want.end(), 1);
    EXPECT_EQ(out, want) << NameOf(CurrentConfig());
  });
}

#ifndef PRECIS_SIMT_ASAN
TEST(Launch, SpreadsBlocksOverThreads) {
  CurrentConfig().workers = 3;
  std::vector<int> out(50 * 40);
  PRECIS_LAUNCH(WriteRanks, dim3(50), dim3(40), 0, kStream, out.data());
  CurrentConfig() = {};
  std::vector<int> want(out.size());
  std::iota(want.begin(), want.end(), 1);
  EXPECT_EQ(out, want);
}
#endif

TEST(Launch, RefusesWhatADeviceRefuses) {
  int unused = 0;
  const auto launch = [&unused](dim3 grid, dim3 block, size_t shared) {
    PRECIS_LAUNCH(WriteRanks, grid, block, shared, kStream, &unused);
  };
  EXPECT_THROW(launch(1, 1025, 0), std::runtime_error);
  EXPECT_THROW(launch(0, 1, 0), std::runtime_error);
  EXPECT_THROW(launch(dim3(1, 65536), 1, 0), std::runtime_error);
  EXPECT_THROW(launch(1, 1, 228 << 10), std::runtime_error);
}

// Each thread takes what the thread `kDistance` further has written.
template <int kDistance, bool kBarrier>
void TakeFromOther(int* out) {
  __shared__ int values[128];
  values[threadIdx.x] = -1;
  __syncthreads();
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (kBarrier) __syncthreads();
  out[threadIdx.x] = values[(threadIdx.x + kDistance) % 128];
}

int SchedulesThatGoWrong(void (*kernel)(int*), int distance) {
  int wrong = 0;
  InAllSchedules([&] {
    std::vector<int> out(128);
    PRECIS_LAUNCH(kernel, 1, 128, 0, kStream, out.data());
    bool right = true;
    for (int i = 0; i < 128; ++i) right &= out[i] == (i + distance) % 128;
    wrong += right ? 0 : 1;
  });
  return wrong;
}

#ifndef PRECIS_SIMT_TSAN  // which says itself what is missing: planted.cc
TEST(Barrier, MissingGivesAWrongResult) {
  EXPECT_EQ(SchedulesThatGoWrong(TakeFromOther<33, false>, 33), 4);
  EXPECT_GT(SchedulesThatGoWrong(TakeFromOther<1, false>, 1), 1);
}
#endif

TEST(Barrier, OrdersWhatIsOnItsTwoSides) {
  EXPECT_EQ(SchedulesThatGoWrong(TakeFromOther<33, true>, 33), 0);
  EXPECT_EQ(SchedulesThatGoWrong(TakeFromOther<1, true>, 1), 0);
}

void WaitForEachOther(int*) {
  if (threadIdx.x % 32 < 31) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

void WaitInTwoPlaces(int*) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

void ExchangeOutsideOfTheMask(int*) { __syncwarp(0xfffffffe); }

void EndBeforeTheBarrier(int* out) {
  if (threadIdx.x >= 40) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

void LaunchOn64(void (*kernel)(int*), int* out) {
  PRECIS_LAUNCH(kernel, dim3(3), dim3(64), 0, kStream, out);
}

TEST(Faults, AreReportedWithTheirPlace) {
  int out[64] = {};
  InAllSchedules([&] {
    EXPECT_THAT([] { LaunchOn64(WaitForEachOther, nullptr); },
                ThrowsMessage<std::runtime_error>(
                    AllOf(HasSubstr("block ("), HasSubstr("deadlock"), HasSubstr("line"))));
    EXPECT_THAT([] { LaunchOn64(WaitInTwoPlaces, nullptr); },
                ThrowsMessage<std::runtime_error>(HasSubstr("divergent barrier")));
    EXPECT_THAT([] { LaunchOn64(ExchangeOutsideOfTheMask, nullptr); },
                ThrowsMessage<std::runtime_error>(HasSubstr("not in its own mask")));
    // And then all is as it was.
    LaunchOn64(EndBeforeTheBarrier, out);
    EXPECT_EQ(std::accumulate(out, out + 64, 0), 40);
  });
}

void ShuffleAllWays(int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int* mine = out + threadIdx.x * 5;
  mine[0] = __shfl_xor_sync(~0u, lane, 5);
  mine[1] = __shfl_sync(~0u, lane, lane + 9, 16);
  mine[2] = __shfl_up_sync(~0u, lane, 3);
  mine[3] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
  // Half of a warp exchanges twice while the other half does something else.
  mine[4] = lane;
  if (lane < 16) {
    mine[4] = __shfl_xor_sync(0x0000ffffu, __shfl_xor_sync(0x0000ffffu, lane, 1), 2);
  } else {
    mine[4] = __shfl_xor_sync(0xffff0000u, lane, 4);
  }
}

TEST(Warp, ExchangesValuesBetweenLanes) {
  InAllSchedules([] {
    std::vector<int> out(64 * 5);
    PRECIS_LAUNCH(ShuffleAllWays, 1, 64, 0, kStream, out.data());
    for (int i = 0; i < 64; ++i) {
      const int lane = i % 32;
      const int* got = &out[i * 5];
      EXPECT_EQ(got[0], lane ^ 5);
      EXPECT_EQ(got[1], lane / 16 * 16 + (lane + 9) % 16);
      EXPECT_EQ(got[2], lane < 3 ? lane : lane - 3);
      EXPECT_EQ(got[3], 0x49249249);
      EXPECT_EQ(got[4], lane < 16 ? lane ^ 3 : lane ^ 4);
    }
  });
}

void ReadNothing(float* out) {
  PRECIS_DYNAMIC_SHARED(float, shared);
  out[threadIdx.x] = shared[threadIdx.x];
  // A lane that is not there gives nothing.
  if (threadIdx.x < 8) out[8 + threadIdx.x] = __shfl_xor_sync(0xffu, 1.0f, 8, 16);
}

TEST(Poison, IsReadWhereNobodyHasWritten) {
  float out[16] = {};
  PRECIS_LAUNCH(ReadNothing, 1, 8, 32, kStream, out);
  for (const float x : out) EXPECT_TRUE(std::isnan(x));
}

}  // namespace
}  // namespace precis::simt
