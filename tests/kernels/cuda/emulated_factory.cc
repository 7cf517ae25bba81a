// In a test binary, `--device cuda` is the emulated one: takes the place of kernels/cuda_none.
#include "tests/kernels/cuda/emulated_backend.h"

namespace precis {

StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions&) {
  return std::make_unique<EmulatedBackend>();
}

}  // namespace precis
