// One device: its memory, its packed weights, and its ops (kernels/ops.h). The model calls these
// and nothing else of a device.
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

// A weight matrix [n, k] in the layout that the device's GEMM wants, with the bias [n] that each
// row of a product gets, if it has one.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  virtual size_t n() const = 0;
  virtual size_t k() const = 0;
  virtual DType dtype() const = 0;
  virtual size_t bytes() const = 0;
  virtual bool has_bias() const = 0;
};

// What Pack() is given.
struct MatrixToPack {
  std::string_view label;    // names it in logs and errors
  std::span<const float> w;  // [n, k]
  size_t n = 0;
  size_t k = 0;
  DType dtype = DType::kF32;         // that the matrix gets
  size_t max_rows = 0;               // the most rows that a GEMM with it will have
  std::span<const float> bias = {};  // [n], or empty: none. It stays f32.

  // Whether it is as large as it says.
  bool IsWhole() const {
    return n > 0 && k > 0 && max_rows > 0 && w.size() == n * k &&
           (bias.empty() || bias.size() == n);
  }
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

class GroupingOps;  // kernels/grouping_ops.h

class Backend : public Ops {
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

  // In int8 each row of w has a scale (kernels/int8_rows.h), and the bias is added after scaling.
  // INVALID_ARGUMENT when the device cannot do `dtype`.
  virtual StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& matrix) = 0;

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
  // given stays until then. Returns a device's error, then and from then on.
  virtual Status Wait() = 0;

  // --- ops: kernels/ops.h, and what only some attention variants need; null: this device has none.
  virtual GroupingOps* grouping_ops() { return nullptr; }

  // `observer` sees every op from now on, and outlives them. Null: none. Not during an op.
  void set_observer(OpObserver* observer);
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
// Packs nothing: matrices have their sizes and no values, and no op may be called on them. With it
// a checkpoint can be loaded to see whether it is whole, in the memory of its largest tensor and
// its embedding.
StatusOr<std::unique_ptr<Backend>> MakeSizingBackend();
StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const BackendOptions& options);
StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const BackendOptions& options);

}  // namespace precis
