// A backend of the host whose memory nobody else reaches: between its calls the pages are closed,
// as a device's are. What the model touches outside of an op ends the process.
//
// Owner: the runner. Thread rule: as Backend.
#pragma once

#include <sys/mman.h>

#include <memory>
#include <span>
#include <utility>

#include "kernels/forwarding_backend.h"

namespace precis {

class GuardedBackend final : public ForwardingBackend {
 public:
  explicit GuardedBackend(std::unique_ptr<Backend> inner)
      : ForwardingBackend(std::move(inner)),
        base_(
            mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~GuardedBackend() override { munmap(base_, kBytes); }

  StatusOr<DeviceMemory> Allocate(size_t bytes) override {
    const size_t at = used_;
    used_ += (bytes + 63) / 64 * 64;
    if (base_ == MAP_FAILED || used_ > kBytes) {
      return Status(absl::StatusCode::kResourceExhausted, "the guarded memory is full");
    }
    return DeviceMemory(static_cast<std::byte*>(base_) + at, bytes, [](std::byte*, size_t) {});
  }
  void Upload(const void* host, size_t bytes, void* device) override {
    const Open open(this);
    ForwardingBackend::Upload(host, bytes, device);
  }
  void Download(const void* device, size_t bytes, void* host) override {
    const Open open(this);
    ForwardingBackend::Download(device, bytes, host);
  }
  void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
             float* out) override {
    const Open open(this);
    ForwardingBackend::Embed(ids, table, table_dtype, d, out);
  }
  void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) override {
    const Open open(this);
    ForwardingBackend::RmsNorm(x, gain, eps, out);
  }
  void Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) override {
    const Open open(this);
    ForwardingBackend::Gemm(in, w, accumulate, out);
  }
  void Activate(ActivationKind kind, const float* in, const Activations& out) override {
    const Open open(this);
    ForwardingBackend::Activate(kind, in, out);
  }
  void GemmOfNorm(const float* x, const float* gain, float eps, const Activations& rows,
                  const PackedMatrix& w, float* out) override {
    const Open open(this);
    ForwardingBackend::GemmOfNorm(x, gain, eps, rows, w, out);
  }
  void GemmOfActivated(ActivationKind kind, const float* in, const Activations& rows,
                       const PackedMatrix& w, float* out) override {
    const Open open(this);
    ForwardingBackend::GemmOfActivated(kind, in, rows, w, out);
  }
  void EncoderAttention(const EncoderAttentionParams& p) override {
    const Open open(this);
    ForwardingBackend::EncoderAttention(p);
  }
  void AppendKv(const AppendKvParams& p) override {
    const Open open(this);
    ForwardingBackend::AppendKv(p);
  }
  void PagedAttention(const PagedAttentionParams& p) override {
    const Open open(this);
    ForwardingBackend::PagedAttention(p);
  }
  void CopySlots(const CopySlotsParams& p) override {
    const Open open(this);
    ForwardingBackend::CopySlots(p);
  }
  void SumKeySquares(const SumKeySquaresParams& p) override {
    const Open open(this);
    ForwardingBackend::SumKeySquares(p);
  }
  void DealHeads(const DealHeadsParams& p) override {
    const Open open(this);
    ForwardingBackend::DealHeads(p);
  }
  void SubtractNoise(const SubtractNoiseParams& p) override {
    const Open open(this);
    ForwardingBackend::SubtractNoise(p);
  }
  void ExtractScores(const ExtractScoresParams& p) override {
    const Open open(this);
    ForwardingBackend::ExtractScores(p);
  }
  void KeepScores(const KeepScoresParams& p) override {
    const Open open(this);
    ForwardingBackend::KeepScores(p);
  }
  void SummarizeScores(const SummarizeScoresParams& p) override {
    const Open open(this);
    ForwardingBackend::SummarizeScores(p);
  }

 private:
  static constexpr size_t kBytes = size_t{256} << 20;

  // While one lives, the memory can be reached.
  class Open {
   public:
    explicit Open(GuardedBackend* backend) : backend_(backend) { Protect(PROT_READ | PROT_WRITE); }
    ~Open() { Protect(PROT_NONE); }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    void Protect(int rights) { mprotect(backend_->base_, backend_->used_, rights); }
    GuardedBackend* const backend_;
  };

  void* const base_;
  size_t used_ = 0;
};

}  // namespace precis
