// Our own GEMM, for bf16 and int8 weights where the ISA multiplies them: weights are packed once
// into panels of 32 columns, each thread has a share of the panels, and while it multiplies one it
// fetches the next. docs/decisions/panel_gemm.md says why it is not oneDNN.
// A sum takes its products in one order, so a row's bits depend neither on the other rows nor on
// the number of threads.
//
// Owner: CpuBackend. Thread rule: one caller at a time; OpenMP inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "kernels/backend.h"
#include "kernels/cpu/gemm/weight_memory.h"
#include "kernels/cpu/isa/kernels.h"

namespace precis {

class PanelGemm {
 public:
  // Makes rows of a GEMM's input; several threads at once, and a row more than once.
  class RowMaker {
   public:
    virtual ~RowMaker() = default;
    // out: one row, of the input's type.
    virtual void Make(size_t row, const Activations& out) const = 0;
  };

  PanelGemm(uint32_t num_threads, const CpuKernels& kernels);

  // Whether a matrix should be packed here: it then is multiplied here, whatever the rows.
  bool Takes(DType dtype, size_t k) const;
  // from.max_rows bounds Run()'s rows. The result must not outlive this. Of a type that Takes().
  // RESOURCE_EXHAUSTED when there is no memory.
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& from);
  // Claims what Run() works in.
  void Prepare();

  // Whether `w` was packed by a PanelGemm.
  static bool Has(const PackedMatrix& w);
  // in: bf16; with int8 weights f32 too.
  void Run(const Activations& in, const PackedMatrix& w, bool accumulate, float* out);
  // Of rows that are made on the way; `in` says how many there are, and of what type (bf16, or f32
  // of int8 weights), and is not read.
  void RunOf(const RowMaker& maker, const Activations& in, const PackedMatrix& w, bool accumulate,
             float* out);

  // The types in use; empty without a matrix.
  std::string Describe() const;

 private:
  class Matrix;

  struct Rows {
    std::vector<uint8_t> rows;
    std::vector<float> scales;
    std::vector<std::byte> made;  // one row, before it is rounded to int8
  };
  // Where the panels of a matrix lie; by value, for the matrix may be gone.
  struct Place {
    const uint8_t* panels = nullptr;
    size_t num_panels = 0;
    size_t panel_bytes = 0;
  };

  Place Foresee(const Matrix& w);
  void RunRows(const RowMaker* maker, const Activations& in, const Matrix& w, bool accumulate,
               float* out);
  void TakeRow(const RowMaker* maker, const Activations& in, DType weights, size_t i, size_t stride,
               std::byte* made, Rows* rows) const;
  void RunShare(const Matrix& w, const Place& next, PanelTask task) const;

  const uint32_t num_threads_;
  const CpuKernels kernels_;
  WeightMemory memory_;
  std::set<DType> dtypes_;
  size_t most_bytes_ = 0;  // of a call's rows
  size_t max_rows_ = 0;
  size_t max_k_ = 0;
  // [matrices packed]: what was multiplied after each the last time, and which was the last. A step
  // uses the same ones in the same order as the step before; a wrong guess costs a panel's reading.
  std::vector<Place> followers_;
  size_t last_ = 0;
  Rows shared_;            // rows made for all threads
  std::vector<Rows> own_;  // [num_threads_]: few rows, which every thread makes for itself
};

}  // namespace precis
