// In a test binary, `--device cuda` is CudaBackend on the emulated device: takes the place of
// kernels/cuda_none.
#include <string>
#include <utility>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/find_device.h"
#include "tests/gpu/device_testing.h"
#include "tests/kernels/cuda/emulated_gemm.h"

namespace precis {

StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions& options) {
  PRECIS_ASSIGN_OR_RETURN(std::string device, cuda::FindDevice());
  return cuda::MakeCudaBackendWith(EmulatedGemm(), options, std::move(device));
}

Status FindTestDevice() { return OkStatus(); }

}  // namespace precis
