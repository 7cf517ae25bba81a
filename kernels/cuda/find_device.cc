#include "kernels/cuda/find_device.h"

#include <cuda_runtime.h>

#include "fmt/format.h"

namespace precis::cuda {
namespace {

// cp.async and mma.sync of bf16.
constexpr int kLeastMajor = 8;

std::string Version(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

Status NoDevice(std::string_view why) {
  return Unavailable(fmt::format("no device for cuda: {}; use the device cpu or ref", why));
}

Status NoDevice(const char* function, cudaError_t error) {
  return NoDevice(
      fmt::format("{}: {} ({})", function, cudaGetErrorName(error), cudaGetErrorString(error)));
}

// CUDA has one error for no driver and for an old one.
Status InsufficientDriver() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return NoDevice("this machine has no NVIDIA driver (libcuda.so.1)");
  }
  return NoDevice(fmt::format("the NVIDIA driver is for CUDA {}, this precis was built with {}",
                              Version(driver), Version(CUDART_VERSION)));
}

}  // namespace

StatusOr<std::string> FindDevice() {
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) return InsufficientDriver();
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return NoDevice("the NVIDIA driver knows of none, or CUDA_VISIBLE_DEVICES hides it");
  }
  if (error != cudaSuccess) return NoDevice("cudaGetDeviceCount", error);
  cudaDeviceProp properties;
  error = cudaGetDeviceProperties(&properties, 0);
  if (error != cudaSuccess) return NoDevice("cudaGetDeviceProperties", error);
  const std::string device = fmt::format("{}, compute capability {}.{}", properties.name,
                                         properties.major, properties.minor);
  if (properties.major < kLeastMajor) {
    return NoDevice(fmt::format(
        "{} is older than {}.0 (CUDA_VISIBLE_DEVICES chooses among several)", device, kLeastMajor));
  }
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  return fmt::format("{}, {:.1f} GiB, driver for CUDA {}, runtime {}", device,
                     static_cast<double>(properties.totalGlobalMem) / (size_t{1} << 30),
                     Version(driver), Version(runtime));
}

}  // namespace precis::cuda
