#include "tests/kernels/cuda/emulated_gemm.h"

#include <limits>

#include "kernels/cuda/stream_work.h"
#include "kernels/ref/elements.h"
#include "tests/simt/runtime.h"

namespace precis {
namespace {

class OracleGemm : public cuda::DeviceGemm {
 public:
  explicit OracleGemm(bool varies, int products = std::numeric_limits<int>::max())
      : varies_(varies), products_left_(products) {}

  std::string Describe() const override { return "emulated"; }
  Status Plan(size_t, size_t, DType, size_t) override { return OkStatus(); }

  Status Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
              cudaStream_t stream) override {
    if (products_left_ == 0) return Internal("cublasLtMatmul: CUBLAS_STATUS_EXPECTED");
    --products_left_;
    const bool in_float = varies_ && in.rows > 1;
    simt::Enqueue(stream, simt::PieceKind::kKernel, this, [=] {
      for (size_t row = 0; row < in.rows; ++row) {
        for (size_t j = 0; j < n; ++j) {
          double sum = 0;
          for (size_t i = 0; i < in.cols; ++i) {
            sum += static_cast<double>(LoadElement(in.data, in.dtype, row * in.cols + i)) *
                   LoadElement(w, in.dtype, j * in.cols + i);
            if (in_float) sum = static_cast<float>(sum);
          }
          float& y = out[row * n + j];
          y = static_cast<float>(accumulate ? y + sum : sum);
        }
      }
    });
    return OkStatus();
  }

 private:
  const bool varies_;
  int products_left_;
};

class AllocatingGemm final : public OracleGemm {
 public:
  AllocatingGemm() : OracleGemm(false) {}
  Status Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
              cudaStream_t stream) override {
    void* memory = nullptr;
    PRECIS_RETURN_IF_ERROR(cuda::DeviceStatus(cudaMalloc(&memory, 256)));
    cudaFree(memory);
    return OracleGemm::Gemm(in, w, n, accumulate, out, stream);
  }
};

}  // namespace

std::unique_ptr<cuda::DeviceGemm> EmulatedGemm() { return std::make_unique<OracleGemm>(false); }
std::unique_ptr<cuda::DeviceGemm> GemmThatVaries() { return std::make_unique<OracleGemm>(true); }
std::unique_ptr<cuda::DeviceGemm> GemmThatFailsAfter(int products) {
  return std::make_unique<OracleGemm>(false, products);
}
std::unique_ptr<cuda::DeviceGemm> GemmThatAllocates() { return std::make_unique<AllocatingGemm>(); }

}  // namespace precis
