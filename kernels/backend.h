// One device's implementation of the op vocabulary. The model calls these ops and nothing else.
//
// Owner: the engine, one for its lifetime. Thread rule: all calls come from one thread (the step
// thread, or the loading thread before it starts); a backend may use threads of its own inside a
// call. No op allocates after Prepare(); no op fails: what can fail is refused at load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/status.h"
#include "kernels/device_memory.h"
#include "kernels/dtype.h"
#include "kernels/ops.h"

namespace precis {

// A weight matrix [n, k] in the layout that the device's GEMM wants.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  virtual size_t n() const = 0;
  virtual size_t k() const = 0;
  virtual DType dtype() const = 0;
  virtual size_t bytes() const = 0;
};

// Sizes of the largest calls, so that Prepare() can claim all scratch memory.
struct BackendLimits {
  uint32_t num_heads = 0;
  uint32_t head_dim = 0;
  uint32_t max_source_tokens = 0;  // keys of encoder and cross-attention
  uint32_t max_target_tokens = 0;  // keys of self-attention
  uint32_t max_decode_rows = 0;
  uint32_t max_encode_rows = 0;  // rows of one encoder slice
  uint32_t vocab_size = 0;
  uint32_t fewest_page_slots = 1;  // of self and cross pages: how long page tables are
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;  // "ref", "cpu", "cuda"
  // One line for the start-up log: ISA, threads, GEMM implementations.
  virtual std::string Describe() const = 0;
  virtual std::string_view isa() const = 0;
  virtual uint32_t num_threads() const = 0;

  // The type that a GEMM on weights of `weights` reads: f32 for f32, bf16 for bf16. One on int8
  // weights reads both, rounds its rows to int8 (kernels/int8_rows.h) and sums exactly; this is the
  // one to be preferred.
  virtual DType activation_dtype(DType weights) const = 0;

  // Packs `w` ([n, k], f32) as `dtype`. `max_rows`: the most rows a GEMM with it will have.
  // In int8 each row of w has a scale (kernels/int8_rows.h). INVALID_ARGUMENT when the device
  // cannot do `dtype`. `label` names it in logs.
  virtual StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::string_view label,
                                                       std::span<const float> w, size_t n, size_t k,
                                                       DType dtype, size_t max_rows) = 0;

  // Makes all primitives and scratch memory, and checks that a row's bits do not depend on how many
  // rows are computed with it. Call once, after the last Pack() and before the first op.
  virtual Status Prepare(const BackendLimits& limits) = 0;

  // --- memory
  // ----------------------------------------------------------------------------------------

  // RESOURCE_EXHAUSTED when the device has no more.
  virtual StatusOr<DeviceMemory> Allocate(size_t bytes) = 0;
  // What a device has left of memory of its own; nullopt where memory is the host's.
  virtual std::optional<uint64_t> FreeDeviceBytes() const { return std::nullopt; }
  // Copies after what was asked before; `host` may change when Upload() returns, and is there when
  // Download() returns.
  virtual void Upload(const void* host, size_t bytes, void* device) = 0;
  virtual void Download(const void* device, size_t bytes, void* host) = 0;
  // Until all ops are done, and what they give to the host is there; the memory that they were
  // given stays until then. A device's error is told here, and from then on every time.
  virtual Status Wait() = 0;

  // --- ops ---------------------------------------------------------------------------------------

  // out[i] = table[ids[i]]; table: [vocab, d] of f32 or bf16; out: [ids.size(), d].
  virtual void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
                     float* out) = 0;

  // out = x / sqrt(mean(x^2) + eps) * gain, over rows of [out.rows, out.cols].
  virtual void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) = 0;

  // out[rows, n] = in[rows, k] * w^T, or out += ... when `accumulate`.
  virtual void Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) = 0;

  // out[rows, d_ff] from in[rows, d_ff] (relu) or [rows, 2 * d_ff] (gated).
  virtual void Activate(ActivationKind kind, const float* in, const Activations& out) = 0;

  // A GEMM of what a norm or an activation makes, with the bits of one after the other. What `rows`
  // holds afterwards is the backend's affair: threads may make rows where they need them, so `out`
  // lies apart from what they are made of.
  virtual void GemmOfNorm(const float* x, const float* gain, float eps, const Activations& rows,
                          const PackedMatrix& w, float* out) {
    RmsNorm(x, gain, eps, rows);
    Gemm(rows, w, false, out);
  }
  // out += ...
  virtual void GemmOfActivated(ActivationKind kind, const float* in, const Activations& rows,
                               const PackedMatrix& w, float* out) {
    Activate(kind, in, rows);
    Gemm(rows, w, true, out);
  }

  virtual void EncoderAttention(const EncoderAttentionParams& params) = 0;
  virtual void AppendKv(const AppendKvParams& params) = 0;
  virtual void PagedAttention(const PagedAttentionParams& params) = 0;
  virtual void CopySlots(const CopySlotsParams& params) = 0;

  // Of some attention variants only.
  virtual void SumKeySquares(const SumKeySquaresParams& params) = 0;
  virtual void DealHeads(const DealHeadsParams& params) = 0;
  virtual void SubtractNoise(const SubtractNoiseParams& params) = 0;

  // What these three give to the host is there after Wait(), and may not be touched until then.
  virtual void ExtractScores(const ExtractScoresParams& params) = 0;
  virtual void KeepScores(const KeepScoresParams& params) = 0;
  // Takes one panel more into the summaries of the rows. A row's bits do not depend on the others.
  virtual void SummarizeScores(const SummarizeScoresParams& params) = 0;
};

struct BackendOptions {
  std::string name = "cpu";  // ref, cpu, cuda
  std::string isa = "auto";  // cpu only: auto, avx2, avx512, avx512_bf16, amx
  uint32_t threads = 0;      // 0: one
  bool cuda_graphs = true;   // cuda only: a batch's launches as one
};

// INVALID_ARGUMENT for an unknown name or an ISA this machine lacks, UNIMPLEMENTED for a device
// that this build was made without, UNAVAILABLE, naming what is missing, for one that this machine
// lacks.
StatusOr<std::unique_ptr<Backend>> MakeBackend(const BackendOptions& options);

// One factory a device; kernels/CMakeLists.txt picks the file that defines it.
StatusOr<std::unique_ptr<Backend>> MakeRefBackend();
StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const BackendOptions& options);
StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions& options);

}  // namespace precis
