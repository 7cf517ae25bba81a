// CUDA graphs of the emulated runtime: that captures, updates and launches are as CUDA has them.
#include <algorithm>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/launch.h"
#include "tests/simt/runtime.h"

namespace precis::simt {
namespace {

void Add(int* values, int what) { values[threadIdx.x] += what; }
void Times(int* values, int what) { values[threadIdx.x] *= what; }

class Graphs : public ::testing::Test {
 protected:
  Graphs() {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, kBytes), cudaSuccess);
    device_ = static_cast<int*>(memory);
    EXPECT_EQ(cudaMallocHost(&memory, kBytes), cudaSuccess);
    in_ = static_cast<int*>(memory);
    EXPECT_EQ(cudaMallocHost(&memory, kBytes), cudaSuccess);
    out_ = static_cast<int*>(memory);
    std::fill_n(in_, 4, 1);
    std::fill_n(out_, 4, 0);
  }
  ~Graphs() override {
    cudaFree(device_);
    cudaFreeHost(in_);
    cudaFreeHost(out_);
    cudaStreamDestroy(stream_);
    ResetRuntime();
  }

  cudaError_t Begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    return cudaStreamBeginCapture(stream_, mode);
  }
  cudaError_t ToDevice() {
    return cudaMemcpyAsync(device_, in_, kBytes, cudaMemcpyHostToDevice, stream_);
  }
  cudaError_t ToHost() {
    return cudaMemcpyAsync(out_, device_, kBytes, cudaMemcpyDeviceToHost, stream_);
  }
  // in + what, or in * what, to out.
  cudaGraph_t Captured(void (*kernel)(int*, int), int what) {
    EXPECT_EQ(Begin(), cudaSuccess);
    EXPECT_EQ(ToDevice(), cudaSuccess);
    PRECIS_LAUNCH(kernel, 1, 4, 0, stream_, device_, what);
    EXPECT_EQ(ToHost(), cudaSuccess);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    return graph;
  }
  int Run(cudaGraphExec_t exec) {
    EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return out_[3];
  }
  // The capture has become invalid, and ends as such.
  void ExpectInvalid() {
    EXPECT_EQ(ToDevice(), cudaErrorStreamCaptureInvalidated);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(ToDevice(), cudaSuccess);
    cudaGetLastError();
  }

  static constexpr size_t kBytes = 4 * sizeof(int);
  cudaStream_t stream_ = nullptr;
  int* device_ = nullptr;
  int* in_ = nullptr;
  int* out_ = nullptr;
};

TEST_F(Graphs, WhatIsCapturedIsDoneWhenItIsLaunched) {
  cudaGraph_t graph = Captured(Add, 5);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(out_[3], 0);
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);  // an executable does not need it
  EXPECT_EQ(Run(exec), 6);
  std::fill_n(in_, 4, 20);  // pinned memory is read again
  EXPECT_EQ(Run(exec), 25);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST_F(Graphs, AnUpdateMayChangeArgumentsAndKernels) {
  cudaGraph_t five = Captured(Add, 5);
  cudaGraph_t seven = Captured(Times, 7);
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, five, 0), cudaSuccess);
  cudaGraphExecUpdateResultInfo result{};
  EXPECT_EQ(cudaGraphExecUpdate(exec, seven, &result), cudaSuccess);
  EXPECT_EQ(result.result, cudaGraphExecUpdateSuccess);
  EXPECT_EQ(Run(exec), 7);
  for (cudaGraph_t graph : {five, seven}) EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST_F(Graphs, AnUpdateMayNotChangeWhatNodesThereAre) {
  cudaGraph_t graph = Captured(Add, 5);
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  const auto update = [&](const auto& capture) {
    EXPECT_EQ(Begin(), cudaSuccess);
    capture();
    cudaGraph_t other = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &other), cudaSuccess);
    cudaGraphExecUpdateResultInfo result{};
    EXPECT_EQ(cudaGraphExecUpdate(exec, other, &result), cudaErrorGraphExecUpdateFailure);
    EXPECT_EQ(cudaGetLastError(), cudaErrorGraphExecUpdateFailure);
    EXPECT_EQ(cudaGraphDestroy(other), cudaSuccess);
    return result.result;
  };
  const auto add = [&] { PRECIS_LAUNCH(Add, 1, 4, 0, stream_, device_, 9); };
  EXPECT_EQ(update([&] { add(); }), cudaGraphExecUpdateErrorTopologyChanged);
  EXPECT_EQ(update([&] { add(), add(), add(); }), cudaGraphExecUpdateErrorNodeTypeChanged);
  EXPECT_EQ(update([&] { ToDevice(), add(), ToDevice(); }),
            cudaGraphExecUpdateErrorParametersChanged);
  EXPECT_EQ(Run(exec), 6);  // as it was
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST_F(Graphs, CallsThatNoGraphCanHaveMakeACaptureInvalid) {
  void* more = nullptr;
  size_t free = 0;
  int pageable[4] = {};
  const auto refused = cudaErrorStreamCaptureUnsupported;
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&more, 16), refused);
  ExpectInvalid();
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaMallocHost(&more, 16), refused);
  ExpectInvalid();
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaFree(device_), refused);
  ExpectInvalid();
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(in_), refused);
  ExpectInvalid();
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaMemGetInfo(&free, &free), refused);
  ExpectInvalid();
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), refused);
  ExpectInvalid();
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(device_, pageable, kBytes, cudaMemcpyHostToDevice, stream_), refused);
  ExpectInvalid();
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pageable, device_, kBytes, cudaMemcpyDeviceToHost, stream_), refused);
  ExpectInvalid();
}

TEST_F(Graphs, ARelaxedCaptureAllowsThemButNotToWait) {
  void* more = nullptr;
  ASSERT_EQ(Begin(cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&more, 16), cudaSuccess);
  EXPECT_EQ(cudaFree(more), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorStreamCaptureUnsupported);
  ExpectInvalid();
}

TEST_F(Graphs, ACaptureIsOfOneThreadAndNotWithinAnother) {
  ASSERT_EQ(Begin(), cudaSuccess);
  EXPECT_EQ(Begin(), cudaErrorIllegalState);
  cudaGraph_t graph = nullptr;
  std::thread([&] {
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureWrongThread);
    void* more = nullptr;
    EXPECT_EQ(cudaMalloc(&more, 16), cudaSuccess);  // of which a thread-local capture knows nothing
    EXPECT_EQ(cudaFree(more), cudaSuccess);
  }).join();
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorIllegalState);
}

TEST_F(Graphs, ItsNodesFailAsOtherWorkDoes) {
  cudaGraph_t graph = Captured(Add, 5);
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  RuntimeFaults().work_until_error = 2;  // the copy back
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_EQ(out_[3], 0);
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

}  // namespace
}  // namespace precis::simt
