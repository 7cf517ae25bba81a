// What a machine lacks for the backend cuda, by what the runtime says of it.
#include "kernels/cuda/find_device.h"

#include <cuda_runtime.h>

#include <cstring>

#include "gmock/gmock.h"

namespace {

// The runtime's answers in this test.
struct Machine {
  cudaError_t count_error = cudaSuccess;
  int count = 1;
  int driver = CUDART_VERSION;
  cudaError_t properties_error = cudaSuccess;
  int major = 9;
  size_t memory = size_t{81} << 30;
};
Machine machine;

}  // namespace

extern "C" {
cudaError_t CUDARTAPI cudaGetDeviceCount(int* count) {
  *count = machine.count;
  return machine.count_error;
}
cudaError_t CUDARTAPI cudaDriverGetVersion(int* version) {
  *version = machine.driver;
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaRuntimeGetVersion(int* version) {
  *version = 12080;
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  std::strcpy(properties->name, "NVIDIA Something");
  properties->major = machine.major;
  properties->minor = 5;
  properties->totalGlobalMem = machine.memory;
  return machine.properties_error;
}
const char* CUDARTAPI cudaGetErrorName(cudaError_t) { return "cudaErrorOfTest"; }
const char* CUDARTAPI cudaGetErrorString(cudaError_t) { return "said of it"; }
}

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void ExpectRefused(const Machine& of, const char* why) {
  machine = of;
  const Status status = cuda::FindDevice().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << why;
  EXPECT_THAT(status.message(), AllOf(HasSubstr(why), HasSubstr("use the device cpu or ref")));
}

TEST(FindDevice, TellsTheDeviceThatItFound) {
  machine = {};
  machine.driver = 13010;
  machine.memory += size_t{1} << 29;
  EXPECT_EQ(
      cuda::FindDevice().value(),
      "NVIDIA Something, compute capability 9.5, 81.5 GiB, driver for CUDA 13.1, runtime 12.8");
  machine.major = 8;
  EXPECT_TRUE(cuda::FindDevice().ok());
}

TEST(FindDevice, NamesWhatTheMachineLacks) {
  ExpectRefused({.count_error = cudaErrorInsufficientDriver, .count = 0, .driver = 0},
                "no NVIDIA driver");
  ExpectRefused({.count_error = cudaErrorInsufficientDriver, .count = 0, .driver = 11040},
                "the NVIDIA driver is for CUDA 11.4, this precis was built with ");
  ExpectRefused({.count_error = cudaErrorNoDevice, .count = 0}, "CUDA_VISIBLE_DEVICES hides it");
  ExpectRefused({.count = 0}, "CUDA_VISIBLE_DEVICES hides it");
  ExpectRefused({.count_error = cudaErrorSystemNotReady},
                "cudaGetDeviceCount: cudaErrorOfTest (said of it)");
  ExpectRefused({.properties_error = cudaErrorInvalidDevice}, "cudaGetDeviceProperties");
  ExpectRefused({.major = 7}, "compute capability 7.5 is older than 8.0");
}

}  // namespace
}  // namespace precis
