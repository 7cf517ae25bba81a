#include "kernels/cuda/gemm/cublaslt_library.h"

#include <dlfcn.h>

#include "fmt/format.h"

#define PRECIS_STRING_INNER(x) #x
#define PRECIS_STRING(x) PRECIS_STRING_INNER(x)

namespace precis::cuda {

Status CublasLt::Check(cublasStatus_t status, std::string_view function) const {
  if (status == CUBLAS_STATUS_SUCCESS) return OkStatus();
  return Internal(
      fmt::format("cublasLt{} of {} failed: {}", function, path, GetStatusName(status)));
}

StatusOr<CublasLt> OpenCublasLtLibrary(const std::string& path) {
  CublasLt lt;
  lt.path = path.empty() ? "libcublasLt.so." PRECIS_STRING(CUBLAS_VER_MAJOR) : path;
  void* library = dlopen(lt.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Unavailable(fmt::format("cannot open cuBLASLt, {}: {}", lt.path, dlerror()));
  }
  const char* missing = nullptr;
#define PRECIS_CUBLASLT_LOAD(name)                                                 \
  lt.name = reinterpret_cast<decltype(lt.name)>(dlsym(library, "cublasLt" #name)); \
  if (lt.name == nullptr && missing == nullptr) missing = "cublasLt" #name;
  PRECIS_CUBLASLT_FUNCTIONS(PRECIS_CUBLASLT_LOAD)
#undef PRECIS_CUBLASLT_LOAD
  if (missing != nullptr) {
    return Unavailable(fmt::format("{} has no function {}", lt.path, missing));
  }
  const size_t major = lt.GetVersion() / 10000;
  if (major != CUBLAS_VER_MAJOR) {
    return Unavailable(fmt::format("{} is cuBLASLt {}, this was compiled for {}", lt.path, major,
                                   CUBLAS_VER_MAJOR));
  }
  return lt;
}

}  // namespace precis::cuda
