#include "tests/gpu/device_testing.h"

#include "kernels/cuda/cublaslt_library.h"
#include "kernels/cuda/find_device.h"

namespace precis {

Status FindTestDevice() {
  PRECIS_RETURN_IF_ERROR(cuda::FindDevice().status());
  return cuda::OpenCublasLtLibrary("").status();
}

}  // namespace precis
