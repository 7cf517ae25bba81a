// GEMM on the CPU in f32 and bf16 (int8: kernels/cpu/gemm/int8_gemm.h): packs weights once,
// prepares one plan a shape, runs. oneDNN does the work.
//
// Owner: CpuBackend. Thread rule: one caller at a time; OpenMP inside.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "common/status.h"
#include "kernels/backend.h"
#include "kernels/cpu/gemm/gemm_plan.h"

namespace precis {

class GemmEngine {
 public:
  // FAILED_PRECONDITION when oneDNN does not start.
  static StatusOr<std::unique_ptr<GemmEngine>> Make(uint32_t num_threads);

  // Of f32 or bf16. The result must not outlive the engine.
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& matrix);
  Status Prepare();
  void Run(const Activations& in, const PackedMatrix& w, bool accumulate, float* out);

  uint64_t primitives_created() const { return primitives_created_; }
  // The distinct implementations in use, and how many buckets were dropped; empty without a matrix.
  std::string Describe() const;

 private:
  struct Entry {
    GemmPlan plan;
    GemmWeights sample;  // some matrix of the shape, to compare buckets with; until Prepare()
  };

  GemmEngine(uint32_t num_threads, dnnl::engine engine);
  void UseThreads() const;
  // The matrix in the layout `to`.
  GemmWeights Reorder(const MatrixToPack& matrix, const dnnl::memory::desc& to);

  const uint32_t num_threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::map<GemmShape, Entry> entries_;  // a map: matrices point into it
  GemmScratch scratch_;
  uint64_t primitives_created_ = 0;
  bool prepared_ = false;
};

}  // namespace precis
