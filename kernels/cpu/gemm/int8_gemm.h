// GEMM on int8 weights: rows of activations are rounded to int8, one scale a row, as they come in;
// oneDNN multiplies, exactly, to s32; our own pass takes the sums back to floats. Panels of a
// matrix's columns are shared out to the threads, each with one-thread primitives, so that
// rounding, product and scaling are one parallel region and sums are scaled while they are in L2.
// Sums are exact, so a row's bits depend neither on the other rows nor on the number of threads.
//
// Owner: CpuBackend. Thread rule: one caller at a time; OpenMP inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa/kernels.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace precis {

class Int8Gemm {
 public:
  Int8Gemm(uint32_t num_threads, const CpuKernels& kernels);
  ~Int8Gemm();

  // from.max_rows bounds Run()'s rows. The result must not outlive this. INVALID_ARGUMENT where
  // the CPU, or the ISA that oneDNN is held to, lacks AVX512-VNNI: sums of its predecessors
  // saturate.
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& from);
  // Makes all primitives and scratch memory.
  Status Prepare();
  // in: f32 or bf16.
  void Run(const Activations& in, const PackedMatrix& w, bool accumulate, float* out);

  uint64_t primitives_created() const { return primitives_created_; }
  // The implementations in use; empty without a matrix.
  std::string Describe() const;

 private:
  class Plan;
  class Matrix;
  struct PanelShape {
    size_t n;
    size_t k;
    auto operator<=>(const PanelShape&) const = default;
  };
  // What one thread works in.
  struct Scratch {
    std::vector<uint8_t> rows;  // few rows, which every thread rounds for itself
    std::vector<float> scales;
    std::vector<int32_t> sums;
    std::vector<std::byte> scratchpad;
  };

  StatusOr<Plan*> PlanOf(const PanelShape& shape, size_t max_rows);
  void RunFewRows(const Activations& in, const Matrix& w, bool accumulate, float* out);
  void RunManyRows(const Activations& in, const Matrix& w, bool accumulate, float* out);
  void RunPanel(const Matrix& w, size_t panel, size_t rows, const uint8_t* in, const float* scales,
                bool accumulate, float* out);

  const uint32_t num_threads_;
  const CpuKernels kernels_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::map<PanelShape, std::unique_ptr<Plan>> plans_;
  size_t max_rows_ = 0;
  size_t max_k_ = 0;
  std::vector<uint8_t> rows_;     // [max_rows_ and a block's padding, max_k_]
  std::vector<float> scales_;     // [max_rows_]
  std::vector<Scratch> scratch_;  // [num_threads_]
  uint64_t primitives_created_ = 0;
};

}  // namespace precis
