// DeviceGemm by cuBLASLt. It thinks in columns: a row-major [r, c] is a column-major [c, r]. So
//   out^T [n, rows] = (w^T [k, n])^T * in^T [k, rows]
// is one product with A = w transposed, B = in, and dense leading dimensions k, k and n.
#include <algorithm>
#include <memory>
#include <vector>

#include "common/check.h"
#include "fmt/format.h"
#include "kernels/cuda/gemm/cublaslt_library.h"
#include "kernels/cuda/gemm/device_gemm.h"

namespace precis::cuda {
namespace {

// What an algorithm may ask for; NVIDIA's own handles have as much on Hopper.
constexpr size_t kMostWorkspace = 32 << 20;
constexpr int kMostCandidates = 32;
// Vector loads and TMA want no more.
constexpr size_t kMostAlignment = 16;

// Of rows of so many bytes that follow each other from an aligned begin.
uint32_t RowAlignment(size_t row_bytes) {
  return static_cast<uint32_t>(std::min(kMostAlignment, row_bytes & (~row_bytes + 1)));
}

bool IsAligned(const void* data, uint32_t alignment) {
  return reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

template <typename T>
using Owned = std::unique_ptr<T, cublasStatus_t (*)(T*)>;
using Layout = Owned<cublasLtMatrixLayoutOpaque_t>;

struct Product {
  size_t n, k;
  DType dtype;
  size_t max_rows;
  Layout w, in, out;
  cublasLtMatmulAlgo_t algorithm;
};

class CublasLtGemm final : public DeviceGemm {
 public:
  explicit CublasLtGemm(CublasLt lt) : lt_(std::move(lt)) {}
  ~CublasLtGemm() override {
    if (workspace_ != nullptr) cudaFree(workspace_);
    products_.clear();
    operation_.reset();
    if (handle_ != nullptr) lt_.Destroy(handle_);
  }

  Status Open();
  std::string Describe() const override {
    const size_t version = lt_.GetVersion();
    return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  }
  Status Plan(size_t n, size_t k, DType dtype, size_t max_rows) override;
  Status Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
              cudaStream_t stream) override;

 private:
  StatusOr<Layout> MakeLayout(DType dtype, size_t rows, size_t cols) const;
  Status SetRows(const Product& product, size_t rows) const;
  StatusOr<std::vector<cublasLtMatmulHeuristicResult_t>> Candidates(const Product& product) const;
  // The workspace that it takes, or why it is not for us.
  StatusOr<size_t> Examine(const Product& product, const cublasLtMatmulAlgo_t& algorithm) const;
  Status ClaimWorkspace(size_t bytes);
  Status Multiply(const Product& product, const Activations& in, const void* w, bool accumulate,
                  float* out, cudaStream_t stream) const;

  CublasLt lt_;
  cublasLtHandle_t handle_ = nullptr;
  Owned<cublasLtMatmulDescOpaque_t> operation_{nullptr, nullptr};
  std::vector<Product> products_;
  void* workspace_ = nullptr;
  size_t workspace_bytes_ = 0;
};

Status CublasLtGemm::Open() {
  if (const Status created = lt_.Check(lt_.Create(&handle_), "Create"); !created.ok()) {
    handle_ = nullptr;
    return Unavailable(std::string(created.message()));
  }
  // Sums in f32, and no TF32, which CUBLAS_COMPUTE_32F_FAST_TF32 would be.
  cublasLtMatmulDesc_t operation = nullptr;
  PRECIS_RETURN_IF_ERROR(lt_.Check(lt_.MatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                                   "MatmulDescCreate"));
  operation_ = {operation, lt_.MatmulDescDestroy};
  const int32_t transposed = CUBLAS_OP_T;
  return lt_.Check(lt_.MatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                              sizeof(transposed)),
                   "MatmulDescSetAttribute");
}

StatusOr<Layout> CublasLtGemm::MakeLayout(DType dtype, size_t rows, size_t cols) const {
  cublasLtMatrixLayout_t layout = nullptr;
  const cudaDataType type = dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
  PRECIS_RETURN_IF_ERROR(
      lt_.Check(lt_.MatrixLayoutCreate(&layout, type, rows, cols, static_cast<int64_t>(rows)),
                "MatrixLayoutCreate"));
  return Layout(layout, lt_.MatrixLayoutDestroy);
}

// Columns, to cuBLASLt. Allocates nothing.
Status CublasLtGemm::SetRows(const Product& product, size_t rows) const {
  const uint64_t cols = rows;
  for (const Layout* layout : {&product.in, &product.out}) {
    PRECIS_RETURN_IF_ERROR(
        lt_.Check(lt_.MatrixLayoutSetAttribute(layout->get(), CUBLASLT_MATRIX_LAYOUT_COLS, &cols,
                                               sizeof(cols)),
                  "MatrixLayoutSetAttribute"));
  }
  return OkStatus();
}

StatusOr<std::vector<cublasLtMatmulHeuristicResult_t>> CublasLtGemm::Candidates(
    const Product& product) const {
  cublasLtMatmulPreference_t made = nullptr;
  PRECIS_RETURN_IF_ERROR(lt_.Check(lt_.MatmulPreferenceCreate(&made), "MatmulPreferenceCreate"));
  const Owned<cublasLtMatmulPreferenceOpaque_t> preference(made, lt_.MatmulPreferenceDestroy);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    return lt_.Check(
        lt_.MatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
        "MatmulPreferenceSetAttribute");
  };
  const uint32_t in = RowAlignment(product.k * ElementBytes(product.dtype));
  const uint32_t out = RowAlignment(product.n * sizeof(float));
  PRECIS_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kMostWorkspace}));
  PRECIS_RETURN_IF_ERROR(
      set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE}));
  PRECIS_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, in));
  PRECIS_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, in));
  PRECIS_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out));
  PRECIS_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out));
  std::vector<cublasLtMatmulHeuristicResult_t> results(kMostCandidates);
  int count = 0;
  PRECIS_RETURN_IF_ERROR(SetRows(product, product.max_rows));
  PRECIS_RETURN_IF_ERROR(lt_.Check(
      lt_.MatmulAlgoGetHeuristic(handle_, operation_.get(), product.w.get(), product.in.get(),
                                 product.out.get(), product.out.get(), preference.get(),
                                 kMostCandidates, results.data(), &count),
      "MatmulAlgoGetHeuristic"));
  results.resize(static_cast<size_t>(count));
  std::erase_if(results, [](const auto& r) { return r.state != CUBLAS_STATUS_SUCCESS; });
  return results;
}

StatusOr<size_t> CublasLtGemm::Examine(const Product& product,
                                       const cublasLtMatmulAlgo_t& algorithm) const {
  int32_t split_k = 0;
  uint32_t reduction = 0;
  uint64_t numerics = 0;
  size_t written = 0;
  PRECIS_RETURN_IF_ERROR(
      lt_.Check(lt_.MatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                                 &split_k, sizeof(split_k), &written),
                "MatmulAlgoConfigGetAttribute"));
  PRECIS_RETURN_IF_ERROR(
      lt_.Check(lt_.MatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                                 &reduction, sizeof(reduction), &written),
                "MatmulAlgoConfigGetAttribute"));
  PRECIS_RETURN_IF_ERROR(
      lt_.Check(lt_.MatmulAlgoCapGetAttribute(&algorithm, CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS,
                                              &numerics, sizeof(numerics), &written),
                "MatmulAlgoCapGetAttribute"));
  // 0 and 1 both mean that k is not split.
  if (split_k > 1 || reduction != CUBLASLT_REDUCTION_SCHEME_NONE) return Unavailable("splits k");
  if (product.dtype == DType::kF32 && (numerics & CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32) != 0) {
    return Unavailable("rounds to TF32");
  }
  size_t most = 0;
  for (size_t rows = 1;; rows = std::min(rows * 2, product.max_rows)) {
    PRECIS_RETURN_IF_ERROR(SetRows(product, rows));
    cublasLtMatmulHeuristicResult_t result{};
    PRECIS_RETURN_IF_ERROR(
        lt_.Check(lt_.MatmulAlgoCheck(handle_, operation_.get(), product.w.get(), product.in.get(),
                                      product.out.get(), product.out.get(), &algorithm, &result),
                  "MatmulAlgoCheck"));
    most = std::max(most, result.workspaceSize);
    if (rows == product.max_rows) break;
  }
  if (most > kMostWorkspace) return Unavailable("needs too much workspace");
  return most;
}

Status CublasLtGemm::ClaimWorkspace(size_t bytes) {
  if (bytes <= workspace_bytes_) return OkStatus();
  if (workspace_ != nullptr) cudaFree(workspace_);
  workspace_ = nullptr;
  workspace_bytes_ = 0;
  if (const cudaError_t error = cudaMalloc(&workspace_, bytes); error != cudaSuccess) {
    workspace_ = nullptr;
    return Status(
        absl::StatusCode::kResourceExhausted,
        fmt::format("no {} bytes of workspace for cuBLASLt: {}", bytes, cudaGetErrorString(error)));
  }
  workspace_bytes_ = bytes;
  return OkStatus();
}

Status CublasLtGemm::Plan(size_t n, size_t k, DType dtype, size_t max_rows) {
  if (dtype == DType::kI8) return InvalidArgument("no GEMM of int8 weights on CUDA");
  PRECIS_CHECK(n > 0 && k > 0 && max_rows > 0);
  const auto same = [&](const Product& p) { return p.n == n && p.k == k && p.dtype == dtype; };
  const auto known = std::ranges::find_if(products_, same);
  if (known != products_.end() && known->max_rows >= max_rows) return OkStatus();
  PRECIS_ASSIGN_OR_RETURN(Layout w, MakeLayout(dtype, k, n));
  PRECIS_ASSIGN_OR_RETURN(Layout in, MakeLayout(dtype, k, max_rows));
  PRECIS_ASSIGN_OR_RETURN(Layout out, MakeLayout(DType::kF32, n, max_rows));
  Product product{n, k, dtype, max_rows, std::move(w), std::move(in), std::move(out), {}};
  const std::string what =
      fmt::format("{} [{}, {}] by up to {} rows", DTypeName(dtype), n, k, max_rows);
  auto candidates = Candidates(product);
  if (!candidates.ok()) return Annotate(candidates.status(), what);
  Status refused = Unavailable("the library offers none");
  for (const cublasLtMatmulHeuristicResult_t& candidate : *candidates) {
    const StatusOr<size_t> workspace = Examine(product, candidate.algo);
    if (!workspace.ok()) {
      refused = workspace.status();
      continue;
    }
    PRECIS_RETURN_IF_ERROR(ClaimWorkspace(*workspace));
    product.algorithm = candidate.algo;
    if (known != products_.end()) products_.erase(known);
    products_.push_back(std::move(product));
    return OkStatus();
  }
  return Unavailable(fmt::format("no algorithm of cuBLASLt for {}; the last of {}: {}", what,
                                 candidates->size(), std::string(refused.message())));
}

Status CublasLtGemm::Gemm(const Activations& in, const void* w, size_t n, bool accumulate,
                          float* out, cudaStream_t stream) {
  const auto product = std::ranges::find_if(products_, [&](const Product& p) {
    return p.n == n && p.k == in.cols && p.dtype == in.dtype;
  });
  PRECIS_CHECK(product != products_.end() && in.rows <= product->max_rows);
  if (in.rows == 0) return OkStatus();
  return Multiply(*product, in, w, accumulate, out, stream);
}

Status CublasLtGemm::Multiply(const Product& product, const Activations& in, const void* w,
                              bool accumulate, float* out, cudaStream_t stream) const {
  const uint32_t alignment = RowAlignment(product.k * ElementBytes(product.dtype));
  if (!IsAligned(in.data, alignment) || !IsAligned(w, alignment) ||
      !IsAligned(out, RowAlignment(product.n * sizeof(float)))) {
    return Internal("operands of a GEMM are not aligned as planned");
  }
  PRECIS_RETURN_IF_ERROR(SetRows(product, in.rows));
  const float alpha = 1;
  const float beta = accumulate ? 1 : 0;
  return lt_.Check(
      lt_.Matmul(handle_, operation_.get(), &alpha, w, product.w.get(), in.data, product.in.get(),
                 &beta, out, product.out.get(), out, product.out.get(), &product.algorithm,
                 workspace_, workspace_bytes_, stream),
      "Matmul");
}

}  // namespace

StatusOr<std::unique_ptr<DeviceGemm>> OpenCublasLt(const std::string& path) {
  PRECIS_ASSIGN_OR_RETURN(CublasLt lt, OpenCublasLtLibrary(path));
  auto gemm = std::make_unique<CublasLtGemm>(std::move(lt));
  PRECIS_RETURN_IF_ERROR(gemm->Open());
  return gemm;
}

}  // namespace precis::cuda
