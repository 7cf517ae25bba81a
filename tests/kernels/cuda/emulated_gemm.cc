#include "tests/kernels/cuda/emulated_gemm.h"

#include <limits>

#include "kernels/ref/elements.h"
#include "tests/simt/runtime.h"

namespace precis {
namespace {

class OracleGemm final : public cuda::DeviceGemm {
 public:
  explicit OracleGemm(bool varies, int products = std::numeric_limits<int>::max())
      : varies_(varies), products_left_(products) {}

  std::string Describe() const override { return "emulated"; }
  Status Plan(size_t, size_t, DType, size_t) override { return OkStatus(); }
  Status status() const override {
    return products_left_ >= 0 ? OkStatus() : Internal("cublasLtMatmul: CUBLAS_STATUS_EXPECTED");
  }

  void Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
            cudaStream_t stream) override {
    if (products_left_ < 0 || products_left_-- == 0) return;
    const bool in_float = varies_ && in.rows > 1;
    simt::Enqueue(stream, [=] {
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
  }

 private:
  const bool varies_;
  int products_left_;  // -1: one more was asked for
};

}  // namespace

std::unique_ptr<cuda::DeviceGemm> EmulatedGemm() { return std::make_unique<OracleGemm>(false); }
std::unique_ptr<cuda::DeviceGemm> GemmThatVaries() { return std::make_unique<OracleGemm>(true); }
std::unique_ptr<cuda::DeviceGemm> GemmThatFailsAfter(int products) {
  return std::make_unique<OracleGemm>(false, products);
}

}  // namespace precis
