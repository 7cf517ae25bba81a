// The emulated runtime: that it does what CUDA does, and sees a host that is too early.
#include "tests/simt/runtime.h"

#include <csetjmp>
#include <csignal>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/launch.h"

namespace precis::simt {
namespace {

void AddOne(int* values) { values[threadIdx.x] += 1; }

class Runtime : public ::testing::Test {
 protected:
  Runtime() {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    void* device = nullptr;
    EXPECT_EQ(cudaMalloc(&device, 4 * sizeof(int)), cudaSuccess);
    device_ = static_cast<int*>(device);
    void* pinned = nullptr;
    EXPECT_EQ(cudaMallocHost(&pinned, 4 * sizeof(int)), cudaSuccess);
    pinned_ = static_cast<int*>(pinned);
  }
  ~Runtime() override {
    cudaFree(device_);
    cudaFreeHost(pinned_);
    cudaStreamDestroy(stream_);
    ResetRuntime();
  }
  void ToDevice(const int* from) {
    EXPECT_EQ(cudaMemcpyAsync(device_, from, 16, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  }
  std::vector<int> FromDevice() {
    std::vector<int> out(4);
    EXPECT_EQ(cudaMemcpyAsync(out.data(), device_, 16, cudaMemcpyDeviceToHost, stream_),
              cudaSuccess);
    return out;
  }

  cudaStream_t stream_ = nullptr;
  int* device_ = nullptr;
  int* pinned_ = nullptr;
};

TEST_F(Runtime, DoesAStreamsWorkInItsOrder) {
  const int values[] = {1, 2, 3, 4};
  ToDevice(values);
  PRECIS_LAUNCH(AddOne, 1, 4, 0, stream_, device_);
  EXPECT_EQ(FromDevice(), (std::vector<int>{2, 3, 4, 5}));
}

TEST_F(Runtime, TakesPageableMemoryAtOnceAndPinnedMemoryLater) {
  int values[] = {1, 2, 3, 4};
  ToDevice(values);
  values[0] = 9;
  EXPECT_EQ(FromDevice()[0], 1);
  std::copy_n(values, 4, pinned_);
  ToDevice(pinned_);
  pinned_[0] = 7;  // too early
  EXPECT_EQ(FromDevice()[0], 7);
}

TEST_F(Runtime, WritesPinnedMemoryOnlyWhenItIsWaitedFor) {
  pinned_[0] = 5;
  EXPECT_EQ(cudaMemsetAsync(device_, 0, 16, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pinned_, device_, 16, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 5);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 0);
}

TEST_F(Runtime, NewMemoryIsNotZero) { EXPECT_EQ(FromDevice()[3], -1); }

#if !defined(PRECIS_SIMT_TSAN) && !defined(PRECIS_SIMT_ASAN)  // which take the signal
TEST_F(Runtime, ClosesDeviceMemoryToTheHost) {
  EXPECT_EQ(cudaMemsetAsync(device_, 0, 16, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EXIT(*static_cast<volatile int*>(device_) = 1, ::testing::KilledBySignal(SIGSEGV), "");
}
#endif

TEST_F(Runtime, RefusesCopiesPastAnAllocation) {
  int values[5] = {};
  EXPECT_EQ(cudaMemcpyAsync(device_, values, 20, cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(Runtime, HasNoMoreMemoryThanItWasGiven) {
  RuntimeFaults().device_bytes = 100;
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 100), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&more, 84), cudaSuccess);
  EXPECT_EQ(cudaFree(more), cudaSuccess);
}

TEST_F(Runtime, FreesMemoryOnlyWhenTheDeviceIsDoneWithIt) {
  void* more = nullptr;
  void* more_pinned = nullptr;
  ASSERT_EQ(cudaMalloc(&more, 16), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&more_pinned, 16), cudaSuccess);
  std::fill_n(static_cast<int*>(more_pinned), 4, 6);
  EXPECT_EQ(cudaMemcpyAsync(more, more_pinned, 16, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pinned_, more, 16, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(more_pinned), cudaSuccess);
  EXPECT_EQ(pinned_[3], 6);
  EXPECT_EQ(cudaFree(more), cudaSuccess);
}

TEST_F(Runtime, AFailureSticks) {
  const int values[] = {1, 2, 3, 4};
  ToDevice(values);
  RuntimeFaults().work_until_error = 1;
  PRECIS_LAUNCH(AddOne, 1, 4, 0, stream_, device_);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMemsetAsync(device_, 0, 16, stream_), cudaErrorIllegalAddress);
}

}  // namespace
}  // namespace precis::simt
