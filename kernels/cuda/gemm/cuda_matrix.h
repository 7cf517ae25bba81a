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
  CudaMatrix(DeviceMemory memory, size_t n, size_t k, DType dtype)
      : memory_(std::move(memory)), n_(n), k_(k), dtype_(dtype) {}
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return memory_.bytes(); }
  const void* data() const { return memory_.data(); }

 private:
  const DeviceMemory memory_;  // [n, k]
  const size_t n_;
  const size_t k_;
  const DType dtype_;
};

}  // namespace precis::cuda
