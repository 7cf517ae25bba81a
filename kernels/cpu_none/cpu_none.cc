// Stands in for kernels/cpu in a build with PRECIS_CPU_BACKEND=OFF (ThreadSanitizer, which does not
// understand libgomp).
#include "kernels/backend.h"

namespace precis {

StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const BackendOptions&) {
  return Unavailable(
      "this precis was built without the cpu backend (PRECIS_CPU_BACKEND=OFF); use the backend "
      "ref");
}

}  // namespace precis
