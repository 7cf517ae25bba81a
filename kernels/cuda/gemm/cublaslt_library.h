// cuBLASLt, opened at run time: it is half a gigabyte, and one binary is to start on any machine.
//
// Owner: OpenCublasLt()'s GEMM. Thread rule: a value; the library stays open until the process
// ends.
#pragma once

#include <cublasLt.h>

#include <string>
#include <string_view>

#include "common/status.h"

// The functions that we use, without their "cublasLt".
#define PRECIS_CUBLASLT_FUNCTIONS(X) \
  X(Create)                          \
  X(Destroy)                         \
  X(GetVersion)                      \
  X(GetStatusName)                   \
  X(MatmulDescCreate)                \
  X(MatmulDescDestroy)               \
  X(MatmulDescSetAttribute)          \
  X(MatrixLayoutCreate)              \
  X(MatrixLayoutDestroy)             \
  X(MatrixLayoutSetAttribute)        \
  X(MatmulPreferenceCreate)          \
  X(MatmulPreferenceDestroy)         \
  X(MatmulPreferenceSetAttribute)    \
  X(MatmulAlgoGetHeuristic)          \
  X(MatmulAlgoCheck)                 \
  X(MatmulAlgoConfigGetAttribute)    \
  X(MatmulAlgoCapGetAttribute)       \
  X(Matmul)

namespace precis::cuda {

struct CublasLt {
#define PRECIS_CUBLASLT_MEMBER(name) decltype(&::cublasLt##name) name = nullptr;
  PRECIS_CUBLASLT_FUNCTIONS(PRECIS_CUBLASLT_MEMBER)
#undef PRECIS_CUBLASLT_MEMBER
  std::string path;

  // OK, or INTERNAL that names the library's function and its status.
  Status Check(cublasStatus_t status, std::string_view function) const;
};

// The library of the major version that this was compiled for: no other has surely its types.
// UNAVAILABLE with what the loader says. `path` empty: as the loader finds it.
StatusOr<CublasLt> OpenCublasLtLibrary(const std::string& path);

}  // namespace precis::cuda
