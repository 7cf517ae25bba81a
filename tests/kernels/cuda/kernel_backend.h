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
#include "kernels/forwarding_backend.h"
#include "tests/kernels/cuda/kernel_memory.h"

namespace precis {

class KernelBackend final : public ForwardingBackend {
 public:
  KernelBackend() : ForwardingBackend(MakeRefBackend().value()) {}

  std::string_view name() const override { return "cuda"; }
  std::string Describe() const override { return "cuda: kernels one by one"; }
  std::string_view isa() const override { return "cuda"; }

  void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
             float* out) override;
  void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) override;
  void Activate(ActivationKind kind, const float* in, const Activations& out) override;
  void EncoderAttention(const EncoderAttentionParams& params) override;
  void AppendKv(const AppendKvParams& params) override;
  void PagedAttention(const PagedAttentionParams& params) override;
  void CopySlots(const CopySlotsParams& params) override;
  void SumKeySquares(const SumKeySquaresParams& params) override;
  void DealHeads(const DealHeadsParams& params) override;
  void SubtractNoise(const SubtractNoiseParams& params) override;
  void ExtractScores(const ExtractScoresParams& params) override;
  void KeepScores(const KeepScoresParams& params) override;
  void SummarizeScores(const SummarizeScoresParams& params) override;

  // What is no op of a Backend.
  void SampleTokens(const std::vector<float>& logits, size_t vocab,
                    std::span<const cuda::SampleRow> rows, std::span<int32_t> tokens);
  void SelectBeams(std::span<const cuda::BeamSequence> sequences,
                   std::span<const ScoreSummary> rows, std::span<const float> totals,
                   std::span<cuda::BeamChoice> choices, std::span<uint32_t> counts);
  void FoldHeads(const cuda::FoldHeadsParams& params);

  // Other than as many as the rows have: their bits must not depend on it.
  void set_most_queries(uint32_t most) { most_queries_ = most; }

 private:
  uint32_t most_queries_ = 0;  // 0: as they are
};

}  // namespace precis
