// The machine of tests/kernels/cuda/kernel_memory.h that is a real device.
#include "gtest/gtest.h"
#include "kernels/cuda/find_device.h"
#include "tests/kernels/cuda/kernel_memory.h"

namespace precis {
namespace {

// Skips all tests of a binary.
class Device : public ::testing::Environment {
  void SetUp() override {
    if (const auto device = cuda::FindDevice(); !device.ok()) GTEST_SKIP() << device.status();
  }
};

[[maybe_unused]] const auto* const kDevice = ::testing::AddGlobalTestEnvironment(new Device);

}  // namespace

// A race may be seen in any of them, or in none; compute-sanitizer finds it (docs/gpu.md).
void InAllSchedules(const std::function<void()>& test) {
  for (int i = 0; i < 4; ++i) test();
}

}  // namespace precis
