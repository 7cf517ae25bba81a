// The oracle: every op scalar and in double, one thread. Slow on purpose, right by inspection.
//
// Owner: whoever called MakeRefBackend(). Thread rule: one caller at a time, as every Backend.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/grouping_ops.h"
#include "kernels/host_backend.h"

namespace precis {

// Not final: what tests put in a device's place overrides what it does otherwise.
class RefBackend : public HostBackend, protected GroupingOps {
 public:
  std::string_view name() const override { return "ref"; }
  std::string Describe() const override;
  std::string_view isa() const override { return "scalar"; }
  uint32_t num_threads() const override { return 1; }
  DType activation_dtype(DType weights) const override {
    return weights == DType::kI8 ? DType::kF32 : weights;
  }

  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& matrix) override;
  Status Prepare(const BackendLimits& limits) override;

  GroupingOps* grouping_ops() override { return this; }

 protected:
  void DoEmbed(const EmbedParams& p) override;
  void DoNorm(const NormParams& p) override;
  void DoGemm(const GemmParams& p) override;
  void DoActivate(const ActivateParams& p) override;
  void DoEncoderAttention(const EncoderAttentionParams& p) override;
  void DoAppendKv(const AppendKvParams& p) override;
  void DoPagedAttention(const PagedAttentionParams& p) override;
  void DoCopySlots(const CopySlotsParams& p) override;
  void DoReduceScores(const ReduceScoresParams& p) override;

  // ref_grouping.cc
  void DoSumKeySquares(const SumKeySquaresParams& p) override;
  void DoAssignHeads(const AssignHeadsParams& p) override;
  void DoSubtractNoise(const SubtractNoiseParams& p) override;

 private:
  void NormRow(const NormParams& p, size_t row);
  // Returns what the row in `row_` must be multiplied with.
  double LoadRow(const Activations& in, size_t row, DType weights);
  void AppendInt8(const AppendKvParams& p, size_t row, size_t kv_head, std::byte* page);

  std::vector<double> scores_;        // one query against all its keys
  std::vector<double> sums_;          // [head_dim], of values
  std::vector<int8_t> rounded_head_;  // [head_dim], of a key or value
  // One row of a GEMM's input, as wide as the widest matrix, and what it is rounded from to int8.
  std::vector<double> row_;
  std::vector<float> row_to_round_;
  std::vector<int8_t> rounded_row_;
};

}  // namespace precis
