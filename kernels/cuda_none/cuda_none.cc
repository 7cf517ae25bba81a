// Stands in for kernels/cuda in a build without CUDA.
#include "kernels/backend.h"

namespace precis {

StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions&) {
  return Unimplemented("this precis was built without CUDA; use the device cpu or ref");
}

}  // namespace precis
