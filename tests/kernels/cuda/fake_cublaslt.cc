// A library with the functions of cuBLASLt that we use, on the host's memory, as its manual says:
// columns are contiguous, layouts and transposes are obeyed, what does not fit is refused. Of its
// algorithms only one is for us: the others split k, round to TF32, or cannot do few rows.
#include <cublasLt.h>

#include <cstring>
#include <string>

namespace {

struct FakeLayout {
  cudaDataType type;
  uint64_t rows, cols;
  int64_t ld;
};
struct FakeOperation {
  cublasComputeType_t compute;
  cudaDataType scale;
  int32_t transa;
};
struct FakePreference {
  uint64_t workspace;
  uint32_t reductions, a, b, c, d;
};
static_assert(sizeof(FakeLayout) <= sizeof(cublasLtMatrixLayoutOpaque_t));

enum Algorithm : uint64_t { kSplitsK, kReduces, kTf32, kManyRowsOnly, kGood, kAlsoGood, kAll };
constexpr size_t kWorkspace = 4096;

std::string failing;
uint64_t last_algorithm = kAll;
FakePreference last_preference{};

bool Fails(const char* function) { return failing == function; }
#define FAKE_FAILS(function) \
  if (Fails(function)) return CUBLAS_STATUS_INTERNAL_ERROR

FakeLayout& Of(cublasLtMatrixLayout_t p) { return *reinterpret_cast<FakeLayout*>(p); }
FakeOperation& Of(cublasLtMatmulDesc_t p) { return *reinterpret_cast<FakeOperation*>(p); }
FakePreference& Of(cublasLtMatmulPreference_t p) { return *reinterpret_cast<FakePreference*>(p); }

template <typename T>
cublasStatus_t Set(T* to, const void* value, size_t bytes) {
  if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
template <typename T>
cublasStatus_t Get(T value, void* to, size_t bytes, size_t* written) {
  if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, &value, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

float Element(const void* data, const FakeLayout& layout, uint64_t row, uint64_t col) {
  const uint64_t at = col * static_cast<uint64_t>(layout.ld) + row;
  if (layout.type == CUDA_R_32F) return static_cast<const float*>(data)[at];
  const uint32_t bits = uint32_t{static_cast<const uint16_t*>(data)[at]} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

bool Fits(const FakeOperation& op, const FakeLayout& a, const FakeLayout& b, const FakeLayout& c,
          const FakeLayout& d) {
  const bool t = op.transa == CUBLAS_OP_T;
  const uint64_t m = t ? a.cols : a.rows;
  const uint64_t k = t ? a.rows : a.cols;
  for (const FakeLayout* layout : {&a, &b, &c, &d}) {
    if (layout->ld < static_cast<int64_t>(layout->rows)) return false;
  }
  return b.rows == k && d.rows == m && d.cols == b.cols && c.rows == d.rows && c.cols == d.cols &&
         op.compute == CUBLAS_COMPUTE_32F && op.scale == CUDA_R_32F && a.type == b.type &&
         c.type == CUDA_R_32F && d.type == CUDA_R_32F;
}

}  // namespace

extern "C" {

void FakeFail(const char* function) { failing = function; }
uint64_t FakeLastAlgorithm() { return last_algorithm; }
uint32_t FakeAlignment(int of) {
  return of == 0   ? last_preference.a
         : of == 1 ? last_preference.b
         : of == 2 ? last_preference.c
                   : last_preference.d;
}

size_t cublasLtGetVersion() {
  return Fails("GetVersion") ? 110203 : CUBLAS_VER_MAJOR * 10000 + 203;
}
const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_INVALID_VALUE:
      return "INVALID_VALUE";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "NOT_SUPPORTED";
    default:
      return "OTHER";
  }
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  FAKE_FAILS("Create");
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(7));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  FAKE_FAILS("MatmulDescCreate");
  *desc = new cublasLtMatmulDescOpaque_t{};
  Of(*desc) = {compute, scale, CUBLAS_OP_N};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  FAKE_FAILS("MatmulDescSetAttribute");
  if (attribute != CUBLASLT_MATMUL_DESC_TRANSA) return CUBLAS_STATUS_INVALID_VALUE;
  return Set(&Of(desc).transa, value, bytes);
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  FAKE_FAILS("MatrixLayoutCreate");
  *layout = new cublasLtMatrixLayoutOpaque_t{};
  Of(*layout) = {type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  FAKE_FAILS("MatrixLayoutSetAttribute");
  if (attribute != CUBLASLT_MATRIX_LAYOUT_COLS) return CUBLAS_STATUS_INVALID_VALUE;
  return Set(&Of(layout).cols, value, bytes);
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  FAKE_FAILS("MatmulPreferenceCreate");
  *preference = new cublasLtMatmulPreferenceOpaque_t{};
  Of(*preference) = {0, CUBLASLT_REDUCTION_SCHEME_MASK, 256, 256, 256, 256};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  FAKE_FAILS("MatmulPreferenceSetAttribute");
  FakePreference& p = Of(preference);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Set(&p.workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return Set(&p.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return Set(&p.a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return Set(&p.b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return Set(&p.c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return Set(&p.d, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}
// Offers what splits k in spite of the preference: the caller is to look.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t op,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* count) {
  FAKE_FAILS("MatmulAlgoGetHeuristic");
  last_preference = Of(preference);
  if (!Fits(Of(op), Of(a), Of(b), Of(c), Of(d)) ||
      last_preference.reductions != CUBLASLT_REDUCTION_SCHEME_NONE ||
      last_preference.workspace < kWorkspace) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const uint64_t offered = Fails("good algorithms") ? kGood : kAll;
  for (*count = 0; *count < most && static_cast<uint64_t>(*count) < offered; ++*count) {
    results[*count] = {};
    results[*count].algo.data[0] = static_cast<uint64_t>(*count);
  }
  return CUBLAS_STATUS_SUCCESS;
}
#ifndef FAKE_WITHOUT_ALGO_CHECK
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t op,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  FAKE_FAILS("MatmulAlgoCheck");
  if (!Fits(Of(op), Of(a), Of(b), Of(c), Of(d))) return CUBLAS_STATUS_INVALID_VALUE;
  if (algo->data[0] == kManyRowsOnly && Of(d).cols < 2) return CUBLAS_STATUS_NOT_SUPPORTED;
  result->workspaceSize = kWorkspace;
  return CUBLAS_STATUS_SUCCESS;
}
#endif
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* value, size_t bytes, size_t* written) {
  FAKE_FAILS("MatmulAlgoConfigGetAttribute");
  if (attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM) {
    return Get(int32_t{algo->data[0] == kSplitsK ? 4 : 1}, value, bytes, written);
  }
  if (attribute == CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME) {
    return Get(uint32_t{algo->data[0] == kReduces ? 1u : 0u}, value, bytes, written);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulAlgoCapGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                 cublasLtMatmulAlgoCapAttributes_t attribute,
                                                 void* value, size_t bytes, size_t* written) {
  FAKE_FAILS("MatmulAlgoCapGetAttribute");
  if (attribute != CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS) return CUBLAS_STATUS_INVALID_VALUE;
  return Get(uint64_t{algo->data[0] == kTf32 ? CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32
                                             : CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F},
             value, bytes, written);
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t op, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t la, const void* b,
                              cublasLtMatrixLayout_t lb, const void* beta, const void* c,
                              cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t) {
  FAKE_FAILS("Matmul");
  if (!Fits(Of(op), Of(la), Of(lb), Of(lc), Of(ld)) || workspace_bytes < kWorkspace ||
      (c == d && std::memcmp(&Of(lc), &Of(ld), sizeof(FakeLayout)) != 0)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  last_algorithm = algo->data[0];
  std::memset(workspace, 0xff, kWorkspace);
  const bool t = Of(op).transa == CUBLAS_OP_T;
  const float scale = *static_cast<const float*>(alpha);
  const float keep = *static_cast<const float*>(beta);
  for (uint64_t j = 0; j < Of(ld).cols; ++j) {
    for (uint64_t i = 0; i < Of(ld).rows; ++i) {
      double sum = 0;
      for (uint64_t k = 0; k < Of(lb).rows; ++k) {
        sum += double{Element(a, Of(la), t ? k : i, t ? i : k)} * Element(b, Of(lb), k, j);
      }
      const float before = keep == 0 ? 0 : keep * Element(c, Of(lc), i, j);
      static_cast<float*>(d)[j * static_cast<uint64_t>(Of(ld).ld) + i] =
          static_cast<float>(scale * sum + before);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
