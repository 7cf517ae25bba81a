// A backend that passes every call on to another one; what stands between them overrides what it
// measures or changes. Owner: the runner. Thread rule: as Backend.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/backend.h"

namespace precis {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string_view name() const override { return inner_->name(); }
  std::string Describe() const override { return inner_->Describe(); }
  std::string_view isa() const override { return inner_->isa(); }
  uint32_t num_threads() const override { return inner_->num_threads(); }
  DType activation_dtype(DType weights) const override { return inner_->activation_dtype(weights); }
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::string_view label, std::span<const float> w,
                                               size_t n, size_t k, DType dtype,
                                               size_t max_rows) override {
    return inner_->Pack(label, w, n, k, dtype, max_rows);
  }
  Status Prepare(const BackendLimits& limits) override { return inner_->Prepare(limits); }
  StatusOr<DeviceMemory> Allocate(size_t bytes) override { return inner_->Allocate(bytes); }
  std::optional<uint64_t> FreeDeviceBytes() const override { return inner_->FreeDeviceBytes(); }
  void Upload(const void* host, size_t bytes, void* device) override {
    inner_->Upload(host, bytes, device);
  }
  void Download(const void* device, size_t bytes, void* host) override {
    inner_->Download(device, bytes, host);
  }
  Status Wait() override { return inner_->Wait(); }
  void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
             float* out) override {
    inner_->Embed(ids, table, table_dtype, d, out);
  }
  void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) override {
    inner_->RmsNorm(x, gain, eps, out);
  }
  void Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) override {
    inner_->Gemm(in, w, accumulate, out);
  }
  void Activate(ActivationKind kind, const float* in, const Activations& out) override {
    inner_->Activate(kind, in, out);
  }
  void GemmOfNorm(const float* x, const float* gain, float eps, const Activations& rows,
                  const PackedMatrix& w, float* out) override {
    inner_->GemmOfNorm(x, gain, eps, rows, w, out);
  }
  void GemmOfActivated(ActivationKind kind, const float* in, const Activations& rows,
                       const PackedMatrix& w, float* out) override {
    inner_->GemmOfActivated(kind, in, rows, w, out);
  }
  void EncoderAttention(const EncoderAttentionParams& p) override { inner_->EncoderAttention(p); }
  void AppendKv(const AppendKvParams& p) override { inner_->AppendKv(p); }
  void PagedAttention(const PagedAttentionParams& p) override { inner_->PagedAttention(p); }
  void CopySlots(const CopySlotsParams& p) override { inner_->CopySlots(p); }
  void SumKeySquares(const SumKeySquaresParams& p) override { inner_->SumKeySquares(p); }
  void DealHeads(const DealHeadsParams& p) override { inner_->DealHeads(p); }
  void SubtractNoise(const SubtractNoiseParams& p) override { inner_->SubtractNoise(p); }
  void ExtractScores(const ExtractScoresParams& p) override { inner_->ExtractScores(p); }
  void KeepScores(const KeepScoresParams& p) override { inner_->KeepScores(p); }
  void SummarizeScores(const SummarizeScoresParams& p) override { inner_->SummarizeScores(p); }

 private:
  const std::unique_ptr<Backend> inner_;
};

}  // namespace precis
