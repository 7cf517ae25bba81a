#include "tests/gpu/device_testing.h"

#include "kernels/cuda/find_device.h"
#include "kernels/cuda/gemm/cublaslt_library.h"

namespace precis {

Status FindTestDevice() {
  PRECIS_RETURN_IF_ERROR(cuda::FindDevice().status());
  return cuda::OpenCublasLtLibrary("").status();
}

}  // namespace precis
