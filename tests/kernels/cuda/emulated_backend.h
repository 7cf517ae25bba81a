// The CUDA kernels one by one, run by tests/simt in the host's memory, where tests guard it: what
// CudaBackend launches, without its streams. The GEMM is the oracle's.
//
// Owner: a test. Thread rule: as every Backend.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "kernels/host_backend.h"

namespace precis {

class EmulatedBackend final : public HostBackend {
 public:
  EmulatedBackend() : ref_(MakeRefBackend().value()) {}

  std::string_view name() const override { return "cuda"; }
  std::string Describe() const override { return "cuda: emulated"; }
  std::string_view isa() const override { return "emulated"; }
  uint32_t num_threads() const override { return 1; }
  DType activation_dtype(DType weights) const override { return ref_->activation_dtype(weights); }

  StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::string_view label, std::span<const float> w,
                                               size_t n, size_t k, DType dtype,
                                               size_t max_rows) override {
    return ref_->Pack(label, w, n, k, dtype, max_rows);
  }
  Status Prepare(const BackendLimits& limits) override { return ref_->Prepare(limits); }

  void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
             float* out) override {
    cuda::Embed(ids.data(), ids.size(), table, table_dtype, d, out, nullptr);
  }
  void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) override {
    cuda::RmsNorm(x, gain, eps, out, nullptr);
  }
  void Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) override {
    ref_->Gemm(in, w, accumulate, out);
  }
  void Activate(ActivationKind kind, const float* in, const Activations& out) override {
    cuda::Activate(kind, in, out, nullptr);
  }
  void EncoderAttention(const EncoderAttentionParams& p) override {
    cuda::EncoderAttention(p, nullptr);
  }
  void AppendKv(const AppendKvParams& p) override { cuda::AppendKv(p, nullptr); }
  void PagedAttention(const PagedAttentionParams& p) override;
  void CopySlots(const CopySlotsParams& p) override { cuda::CopySlots(p, nullptr); }
  void SumKeySquares(const SumKeySquaresParams& p) override { cuda::SumKeySquares(p, nullptr); }
  void DealHeads(const DealHeadsParams& p) override { cuda::DealHeads(p, nullptr); }
  void SubtractNoise(const SubtractNoiseParams& p) override { cuda::SubtractNoise(p, nullptr); }
  void SummarizeScores(const SummarizeScoresParams& p) override;

  // Other than as many as the rows have: their bits must not depend on it.
  void set_most_queries(uint32_t most) { most_queries_ = most; }

 private:
  std::unique_ptr<Backend> ref_;
  cuda::PagedPlan plan_;
  std::vector<float> partials_;
  uint32_t most_queries_ = 0;  // 0: as they are
};

}  // namespace precis
