#include "tests/kernels/cuda/emulated_gemm.h"

#include "kernels/cuda/stream/stream_work.h"
#include "kernels/ref/elements.h"
#include "tests/simt/runtime.h"

namespace precis {
namespace {

class OracleGemm : public cuda::DeviceGemm {
 public:
  std::string Describe() const override { return "emulated"; }
  Status Plan(size_t, size_t, DType, size_t) override { return OkStatus(); }
  Status Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
              cudaStream_t stream) override {
    const bool in_float = AddsInFloat(in.rows, accumulate);
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
  virtual bool AddsInFloat(size_t /*rows*/, bool /*accumulate*/) const { return false; }
};

class VaryingGemm final : public OracleGemm {
 public:
  explicit VaryingGemm(bool only_accumulating) : only_accumulating_(only_accumulating) {}

 private:
  bool AddsInFloat(size_t rows, bool accumulate) const override {
    return rows > 1 && (accumulate || !only_accumulating_);
  }
  const bool only_accumulating_;
};

class FailingGemm final : public OracleGemm {
 public:
  explicit FailingGemm(const bool* fails) : fails_(fails) {}
  Status Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
              cudaStream_t stream) override {
    if (*fails_) return Internal("cublasLtMatmul: CUBLAS_STATUS_EXPECTED");
    return OracleGemm::Gemm(in, w, n, accumulate, out, stream);
  }

 private:
  const bool* const fails_;
};

class AllocatingGemm final : public OracleGemm {
 public:
  Status Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
              cudaStream_t stream) override {
    void* memory = nullptr;
    PRECIS_RETURN_IF_ERROR(cuda::DeviceStatus(cudaMalloc(&memory, 256)));
    cudaFree(memory);
    return OracleGemm::Gemm(in, w, n, accumulate, out, stream);
  }
};

}  // namespace

std::unique_ptr<cuda::DeviceGemm> EmulatedGemm() { return std::make_unique<OracleGemm>(); }
std::unique_ptr<cuda::DeviceGemm> GemmThatVaries(bool only_accumulating) {
  return std::make_unique<VaryingGemm>(only_accumulating);
}
std::unique_ptr<cuda::DeviceGemm> GemmThatFails(const bool* fails) {
  return std::make_unique<FailingGemm>(fails);
}
std::unique_ptr<cuda::DeviceGemm> GemmThatAllocates() { return std::make_unique<AllocatingGemm>(); }

}  // namespace precis
