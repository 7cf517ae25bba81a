// All oneDNN primitives of one GEMM shape (n, k, type, bias or none): one for each bucket of rows,
// with and without accumulation, and the choice of a bucket for every number of rows.
//
// Owner: GemmEngine; matrices of one shape share a plan. Thread rule: one caller at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "kernels/cpu/gemm/matmul_call.h"
#include "kernels/dtype.h"
#include "kernels/gemm_invariance.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace precis {

// Memory that padded calls and oneDNN work in; shared by all plans, sized after all are prepared.
struct GemmScratch {
  std::vector<std::byte> scratchpad;
  std::vector<std::byte> in;
  std::vector<float> out;
};

// True of oneDNN's reference implementations, unless the matrix is so small that one does no harm.
bool IsSlowGemm(size_t n, size_t k, std::string_view implementation);

// Of a bias [n], f32 with weights of any type.
dnnl::memory::desc GemmBiasDesc(size_t n);

// 1, 2, 4, 8, then multiples of 16 to 128, then multiples of 64; the last holds max_rows.
std::vector<size_t> RowBuckets(size_t max_rows);

class GemmPlan {
 public:
  // Asks oneDNN for the layout of the weights. INVALID_ARGUMENT when it has no fast implementation.
  static StatusOr<GemmPlan> Make(const GemmShape& shape, size_t max_rows,
                                 const dnnl::engine& engine);

  const dnnl::memory::desc& weights_desc() const { return weights_desc_; }
  void RaiseMaxRows(size_t max_rows) { max_rows_ = std::max(max_rows_, max_rows); }
  size_t max_rows() const { return max_rows_; }

  // Makes the primitives and keeps the buckets whose rows all have the same bits, wherever a row
  // stands and however many stand beside it. `weights` serve for the comparison.
  Status Prepare(const dnnl::engine& engine, const dnnl::stream& stream, const GemmWeights& weights,
                 uint64_t* primitives_created);
  // Grows `scratch` to what Run() needs.
  void ClaimScratch(GemmScratch* scratch) const;

  // in: [rows, k]; out: [rows, n]; neither is touched past its rows. rows <= max_rows().
  void Run(const dnnl::stream& stream, const GemmWeights& weights, GemmScratch* scratch,
           const void* in, size_t rows, bool accumulate, float* out, uint32_t num_threads) const;

  const std::set<std::string>& implementations() const { return implementations_; }
  // Buckets that were dropped because their bits differ from those that are used.
  const std::vector<size_t>& dropped_buckets() const { return dropped_buckets_; }

 private:
  struct Bucket {
    size_t rows = 0;
    std::array<MatmulCall, 2> calls;  // [accumulate]
  };

  GemmPlan() = default;
  StatusOr<bool> MakeBucket(size_t rows, const dnnl::engine& engine, Bucket* bucket);
  void KeepInvariantBuckets(const dnnl::stream& stream, const GemmWeights& weights);
  void ChooseBuckets();
  void RunPadded(const Bucket& bucket, const dnnl::stream& stream, const GemmWeights& weights,
                 GemmScratch* scratch, const void* in, size_t rows, bool accumulate, float* out,
                 uint32_t num_threads) const;

  GemmShape shape_{};
  size_t max_rows_ = 0;
  dnnl::memory::desc weights_desc_;
  std::vector<Bucket> buckets_;   // ascending rows
  std::vector<uint32_t> choice_;  // [rows] -> index into buckets_; [0] unused
  std::set<std::string> implementations_;
  std::vector<size_t> dropped_buckets_;
};

}  // namespace precis
