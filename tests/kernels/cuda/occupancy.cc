// How many blocks of a kernel a multiprocessor holds, by NVIDIA's own rules (cuda_occupancy.h),
// which need no device. static_checks.py asks it.
//
// Reads lines "COMPUTE_CAPABILITY THREADS REGISTERS STATIC_SHARED DYNAMIC_SHARED", such as
// "90 128 64 1024 0", and answers each with "BLOCKS LIMIT".
#include <climits>
#include <cstddef>
#include <cstdint>
// Its own prerequisites come before it.
#include <cuda_occupancy.h>

#include <iostream>
#include <string>

namespace {

// CUDA C++ Programming Guide, technical specifications per compute capability.
bool SetDevice(int capability, cudaOccDeviceProp* device) {
  device->computeMajor = capability / 10;
  device->computeMinor = capability % 10;
  device->maxThreadsPerBlock = 1024;
  device->maxThreadsPerMultiprocessor = 2048;
  device->regsPerBlock = 65536;
  device->regsPerMultiprocessor = 65536;
  device->warpSize = 32;
  device->sharedMemPerBlock = 48 << 10;
  device->reservedSharedMemPerBlock = 1 << 10;
  device->numSms = 1;
  if (capability == 80) {
    device->sharedMemPerMultiprocessor = 164 << 10;
  } else if (capability == 90) {
    device->sharedMemPerMultiprocessor = 228 << 10;
  } else {
    return false;
  }
  device->sharedMemPerBlockOptin = device->sharedMemPerMultiprocessor - (1 << 10);
  return true;
}

std::string Limits(unsigned factors) {
  std::string names;
  const auto add = [&](unsigned factor, const char* name) {
    if ((factors & factor) != 0) names += (names.empty() ? "" : "+") + std::string(name);
  };
  add(OCC_LIMIT_WARPS, "threads");
  add(OCC_LIMIT_REGISTERS, "registers");
  add(OCC_LIMIT_SHARED_MEMORY, "shared");
  add(OCC_LIMIT_BLOCKS, "blocks");
  add(OCC_LIMIT_BARRIERS, "barriers");
  return names;
}

}  // namespace

int main() {
  int capability, threads, registers;
  size_t fixed, dynamic;
  while (std::cin >> capability >> threads >> registers >> fixed >> dynamic) {
    cudaOccDeviceProp device;
    if (!SetDevice(capability, &device)) {
      std::cerr << "no numbers for compute capability " << capability << "\n";
      return 1;
    }
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = threads;
    kernel.numRegs = registers;
    kernel.sharedSizeBytes = fixed;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_DEFAULT;
    kernel.maxDynamicSharedSizeBytes = device.sharedMemPerBlock;
    kernel.numBlockBarriers = 1;
    const cudaOccDeviceState state;
    cudaOccResult result;
    const cudaOccError error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel,
                                                                       &state, threads, dynamic);
    if (error != CUDA_OCC_SUCCESS) {
      std::cerr << "cuda_occupancy.h: error " << error << "\n";
      return 1;
    }
    std::cout << result.activeBlocksPerMultiprocessor << " " << Limits(result.limitingFactors)
              << "\n";
  }
}
