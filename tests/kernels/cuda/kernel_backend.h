// The CUDA kernels one by one on arrays of the host, which KernelMemory brings to where the kernel
// reaches them: what CudaBackend launches, without its streams. Memory and the GEMM are the
// oracle's. One source for the emulator and for a real device.
//
// Owner: a test. Thread rule: as every Backend.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "kernels/ref/ref_backend.h"
#include "tests/kernels/cuda/kernel_memory.h"

namespace precis {

class KernelBackend final : public RefBackend {
 public:
  std::string_view name() const override { return "cuda"; }
  std::string Describe() const override { return "cuda: kernels one by one"; }
  std::string_view isa() const override { return "cuda"; }

  // Other than as many as the rows have: their bits must not depend on it.
  void set_most_queries(uint32_t most) { most_queries_ = most; }

 private:
  void DoEmbed(const EmbedParams& p) override;
  void DoNorm(const NormParams& p) override;
  void DoActivate(const ActivateParams& p) override;
  void DoEncoderAttention(const EncoderAttentionParams& p) override;
  void DoAppendKv(const AppendKvParams& p) override;
  void DoPagedAttention(const PagedAttentionParams& p) override;
  void DoCopySlots(const CopySlotsParams& p) override;
  void DoSumKeySquares(const SumKeySquaresParams& p) override;
  void DoAssignHeads(const AssignHeadsParams& p) override;
  void DoSubtractNoise(const SubtractNoiseParams& p) override;
  void DoExtractScores(const ExtractScoresParams& p) override;
  void DoKeepScores(const KeepScoresParams& p) override;
  void DoReduceScores(const ReduceScoresParams& p) override;

  uint32_t most_queries_ = 0;  // 0: as they are
};

}  // namespace precis
