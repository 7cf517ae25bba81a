// The oracle's memory and types, without weights.
#include "kernels/ref/ref_backend.h"

namespace precis {
namespace {

class SizesOfMatrix final : public PackedMatrix {
 public:
  SizesOfMatrix(size_t n, size_t k, DType dtype) : n_(n), k_(k), dtype_(dtype) {}
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return n_ * k_ * ElementBytes(dtype_); }

 private:
  const size_t n_;
  const size_t k_;
  const DType dtype_;
};

class SizingBackend final : public RefBackend {
 public:
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::string_view /*label*/,
                                               std::span<const float> /*w*/, size_t n, size_t k,
                                               DType dtype, size_t /*max_rows*/) override {
    return std::make_unique<SizesOfMatrix>(n, k, dtype);
  }
};

}  // namespace

StatusOr<std::unique_ptr<Backend>> MakeSizingBackend() { return std::make_unique<SizingBackend>(); }

}  // namespace precis
