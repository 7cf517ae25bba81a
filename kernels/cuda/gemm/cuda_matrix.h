// A weight matrix on the device, dense.
//
// Owner: who asked CudaBackend::Pack() for it. Thread rule: as PackedMatrix.
#pragma once

#include <cstddef>
#include <utility>

#include "kernels/backend.h"
#include "kernels/device_memory.h"

namespace precis::cuda {

class CudaMatrix final : public PackedMatrix {
 public:
  CudaMatrix(DeviceMemory weights, DeviceMemory bias, size_t n, size_t k, DType dtype)
      : weights_(std::move(weights)), bias_(std::move(bias)), n_(n), k_(k), dtype_(dtype) {}
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return weights_.bytes() + bias_.bytes(); }
  bool has_bias() const override { return bias_.bytes() > 0; }
  const void* data() const { return weights_.data(); }
  // Null: none.
  const float* bias() const { return reinterpret_cast<const float*>(bias_.data()); }

 private:
  const DeviceMemory weights_;  // [n, k]
  const DeviceMemory bias_;     // [n] of f32, or nothing
  const size_t n_;
  const size_t k_;
  const DType dtype_;
};

}  // namespace precis::cuda
