// The CPU backend: GEMM by oneDNN or, where that is faster, in our own panels; everything else by
// our own kernels, spread over OpenMP's threads. They spread independent work only, so their bits
// do not depend on the number of threads.
//
// Owner: whoever called MakeCpuBackend(). Thread rule: one caller at a time, as every Backend.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cpu/gemm/gemm.h"
#include "kernels/cpu/gemm/int8_gemm.h"
#include "kernels/cpu/gemm/panel_gemm.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/kernels.h"
#include "kernels/grouping_ops.h"
#include "kernels/host_backend.h"

namespace precis {

class CpuBackend final : public HostBackend, private GroupingOps {
 public:
  CpuBackend(Isa isa, uint32_t num_threads, std::unique_ptr<GemmEngine> gemm);

  std::string_view name() const override { return "cpu"; }
  std::string Describe() const override;
  std::string_view isa() const override { return isa_.name; }
  uint32_t num_threads() const override { return num_threads_; }
  DType activation_dtype(DType weights) const override;

  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& matrix) override;
  Status Prepare(const BackendLimits& limits) override;

  GroupingOps* grouping_ops() override { return this; }

  // Of oneDNN, so far; constant after Prepare().
  uint64_t primitives_created() const {
    return gemm_->primitives_created() + int8_gemm_.primitives_created();
  }

 private:
  void DoEmbed(const EmbedParams& p) override;
  void DoNorm(const NormParams& p) override;
  void DoGemm(const GemmParams& p) override;
  void DoActivate(const ActivateParams& p) override;
  void DoGemmOfNorm(const GemmOfNormParams& p) override;
  void DoGemmOfActivated(const GemmOfActivatedParams& p) override;
  void DoEncoderAttention(const EncoderAttentionParams& p) override;
  void DoAppendKv(const AppendKvParams& p) override;
  void DoPagedAttention(const PagedAttentionParams& p) override;
  void DoCopySlots(const CopySlotsParams& p) override;
  void DoReduceScores(const ReduceScoresParams& p) override;

  // cpu_grouping.cc
  void DoSumKeySquares(const SumKeySquaresParams& p) override;
  void DoAssignHeads(const AssignHeadsParams& p) override;
  void DoSubtractNoise(const SubtractNoiseParams& p) override;

  float* ThreadScratch();
  // Neighbouring rows that share a page table and read the same KV heads; its work items begin at
  // first_item.
  struct PagedGroup {
    uint32_t first_row;
    uint32_t num_rows;
    uint32_t first_item;
  };
  void CountChunks(std::span<const PagedRow> rows);
  uint32_t GroupRows(const PagedAttentionParams& params);
  uint32_t GroupRowsBy(const PagedAttentionParams& params, uint32_t most);
  uint32_t HeadsTogether(const PagedAttentionParams& params, uint32_t items) const;
  const PagedProducts* ProductsFor(const KvRegion& region) const;
  static bool HaveEqualKeys(std::span<const PagedRow> rows);
  void AppendShareOfThread(const AppendKvParams& params) const;
  void AttendItems(const PagedAttentionParams& params, uint32_t items, uint32_t together);
  void AttendItem(const PagedAttentionParams& params, uint32_t item, uint32_t heads_together);

  const Isa isa_;
  const uint32_t num_threads_;
  const CpuKernels kernels_;
  std::unique_ptr<GemmEngine> gemm_;
  Int8Gemm int8_gemm_;
  PanelGemm panel_gemm_;

  BackendLimits limits_;
  size_t scratch_floats_ = 0;          // of one thread
  std::vector<float> scratch_;         // [num_threads_, scratch_floats_]
  std::vector<float> partials_;        // [chunks of all rows, num_heads, PartialFloats()]
  std::vector<uint32_t> first_chunk_;  // [rows + 1]: where a row's chunks begin
  std::vector<PagedGroup> groups_;     // of the call under way
};

}  // namespace precis
