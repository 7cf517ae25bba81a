// The backend cuda in a build with nvcc; kernels/cuda_none takes its place in one without.
#include <string>
#include <utility>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/find_device.h"

namespace precis {

StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions& options) {
  PRECIS_ASSIGN_OR_RETURN(std::string device, cuda::FindDevice());
  PRECIS_ASSIGN_OR_RETURN(std::unique_ptr<cuda::DeviceGemm> gemm, cuda::OpenCublasLt());
  return cuda::MakeCudaBackendWith(std::move(gemm), options, std::move(device));
}

}  // namespace precis
