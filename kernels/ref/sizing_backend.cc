// The oracle's memory and types, without weights.
#include "kernels/ref/ref_backend.h"

namespace precis {
namespace {

class SizesOfMatrix final : public PackedMatrix {
 public:
  explicit SizesOfMatrix(const MatrixToPack& from)
      : n_(from.n), k_(from.k), dtype_(from.dtype), has_bias_(!from.bias.empty()) {}
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override {
    return n_ * k_ * ElementBytes(dtype_) + (has_bias_ ? n_ * sizeof(float) : 0);
  }
  bool has_bias() const override { return has_bias_; }

 private:
  const size_t n_;
  const size_t k_;
  const DType dtype_;
  const bool has_bias_;
};

class SizingBackend final : public RefBackend {
 public:
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& matrix) override {
    return std::make_unique<SizesOfMatrix>(matrix);
  }
};

}  // namespace

StatusOr<std::unique_ptr<Backend>> MakeSizingBackend() { return std::make_unique<SizingBackend>(); }

}  // namespace precis
