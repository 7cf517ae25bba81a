// Matrix products of a device, of weights that lie there.
//
// Owner: the CUDA backend. Thread rule: the thread that has the stream. What goes wrong while a
// product runs is the stream's, and seen when it is asked.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <string>

#include "common/status.h"
#include "kernels/dtype.h"
#include "kernels/ops.h"

namespace precis::cuda {

class DeviceGemm {
 public:
  virtual ~DeviceGemm() = default;

  virtual std::string Describe() const = 0;  // for the start-up log

  // Chooses the one algorithm for weights [n, k] of f32 or bf16, for all numbers of rows up to
  // `max_rows`: a row's bits must not depend on how many are multiplied with it. Claims workspace.
  // To be called again for each shape; the error names what the device cannot do.
  virtual Status Plan(size_t n, size_t k, DType dtype, size_t max_rows) = 0;

  // out[rows, n] = in[rows, k] * w^T, or out += ... when `accumulate`; sums in f32. All memory is
  // the device's; `in` has the type of `w`; the shape was planned. Each begins at a multiple of 16
  // bytes, or of the largest power of two in its row's bytes if that is less. The status is that of
  // asking for a product, which no stream knows: Backend::Wait() is to tell this one too.
  virtual Status Gemm(const Activations& in, const void* w, size_t n, bool accumulate, float* out,
                      cudaStream_t stream) = 0;
};

// UNAVAILABLE, naming the library, where this machine has no cuBLASLt. `path`: the library to be
// opened; empty: the one that this machine's loader finds.
StatusOr<std::unique_ptr<DeviceGemm>> OpenCublasLt(const std::string& path = "");

}  // namespace precis::cuda
