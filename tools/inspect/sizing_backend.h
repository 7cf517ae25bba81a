// A backend that packs nothing: matrices have their sizes and no values. With it a checkpoint can
// be loaded to see whether it is whole, in the memory of its largest tensor and its embedding.
//
// Owner: who looks at a checkpoint; no op may be called. Thread rule: one thread.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "kernels/forwarding_backend.h"

namespace precis {

class SizingBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::string_view /*label*/,
                                               std::span<const float> /*w*/, size_t n, size_t k,
                                               DType dtype, size_t /*max_rows*/) override {
    return std::make_unique<Sizes>(n, k, dtype);
  }

 private:
  class Sizes final : public PackedMatrix {
   public:
    Sizes(size_t n, size_t k, DType dtype) : n_(n), k_(k), dtype_(dtype) {}
    size_t n() const override { return n_; }
    size_t k() const override { return k_; }
    DType dtype() const override { return dtype_; }
    size_t bytes() const override { return n_ * k_ * ElementBytes(dtype_); }

   private:
    const size_t n_;
    const size_t k_;
    const DType dtype_;
  };
};

}  // namespace precis
