// In a test binary, `--device cuda` is CudaBackend on the emulated device: takes the place of
// kernels/cuda_none.
#include "kernels/cuda/cuda_backend.h"
#include "tests/gpu/device_testing.h"
#include "tests/kernels/cuda/emulated_gemm.h"

namespace precis {

StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions& options) {
  return cuda::MakeCudaBackendWith(EmulatedGemm(), options);
}

Status FindTestDevice() { return OkStatus(); }

}  // namespace precis
