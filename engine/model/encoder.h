// The encoder as a list of small pieces (engine/sched/encode_work.h), so that a step holds as much
// of it as its budget allows. One document at a time in each workspace.
//
// Owner: the runner. Thread rule: the step thread. Formulas: Raffel et al. 2020 (norms before the
// sublayers), Lewis et al. 2020 (norms after them), as the architecture describes them
// (architecture.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/families/architecture.h"
#include "engine/model/kv_layout.h"
#include "engine/model/weights.h"
#include "engine/sched/encode_work.h"
#include "engine/sched/step_plan.h"
#include "kernels/backend.h"
#include "kernels/device_allocator.h"

namespace precis {

// A row-major buffer that feeds a GEMM on `weights`, of the type the backend wants.
class ActivationBuffer {
 public:
  ActivationBuffer(DeviceAllocator& allocator, DType weights, size_t max_rows, size_t cols)
      : dtype_(allocator.backend().activation_dtype(weights)),
        cols_(cols),
        bytes_(allocator.Make<std::byte>(max_rows * cols * ElementBytes(dtype_))) {}
  // `rows` rows from row `begin` on.
  Activations Rows(size_t begin, size_t rows) {
    return {bytes_.data() + begin * cols_ * ElementBytes(dtype_), dtype_, rows, cols_};
  }

 private:
  DType dtype_;
  size_t cols_;
  DeviceArray<std::byte> bytes_;
};

// What a document in progress needs between its pieces.
class EncoderWorkspace {
 public:
  EncoderWorkspace(const Architecture& arch, DType weights, uint32_t max_source_tokens,
                   DeviceAllocator& allocator)
      : x(allocator.Make<float>(size_t{max_source_tokens} * arch.d_model)),
        qkv(allocator.Make<float>(size_t{max_source_tokens} * 3 * arch.encoder.num_heads *
                                  arch.encoder.head_dim)),
        packed(allocator.Make<std::byte>(
            allocator.backend().activation_dtype(weights) == DType::kBF16
                ? EncoderPackedBytes(max_source_tokens, arch.encoder.num_heads,
                                     arch.encoder.head_dim)
                : 0)),
        encoded(allocator, weights, max_source_tokens, arch.d_model) {}

  DeviceArray<float> x;           // residual stream, [tokens, d_model]
  DeviceArray<float> qkv;         // [tokens, 3 * H * head_dim]
  DeviceArray<std::byte> packed;  // the layer's K and V, as the backend wants them
  // [tokens, d_model]: what the last layer gives. Where norms are after their sublayers, what each
  // layer gives, which the next one's matrices read.
  ActivationBuffer encoded;
};

class Encoder {
 public:
  Encoder(const Architecture& arch, const ModelWeights& weights, const KvLayout& layout,
          const KvPool& pool, uint32_t max_slice_rows, DeviceAllocator& allocator);

  // One piece for the document `ids`; its cross K and V go to `cross_pages`.
  void Run(const EncodeItem& item, std::span<const int32_t> ids,
           std::span<const PageId> cross_pages, EncoderWorkspace& workspace);

 private:
  void Qkv(const EncodeItem& item, std::span<const int32_t> ids, EncoderWorkspace& workspace);
  void AttentionAndFeedForward(const EncodeItem& item, uint32_t tokens,
                               EncoderWorkspace& workspace);
  void Cross(const EncodeItem& item, std::span<const PageId> cross_pages,
             EncoderWorkspace& workspace);

  const Architecture& arch_;
  const ModelWeights& weights_;
  const KvLayout& layout_;
  const KvPool pool_;
  Backend& backend_;
  const size_t inner_;  // num_heads * head_dim

  // scratch of one slice
  ActivationBuffer normed_;          // [rows, d_model]
  ActivationBuffer attended_;        // [rows, H * head_dim]
  ActivationBuffer hidden_;          // [rows, d_ff]
  DeviceArray<float> wide_;          // [rows, max(d_ff or 2 d_ff, 2 G head_dim)]
  std::vector<uint32_t> positions_;  // of a slice's rows
  std::vector<SlotRef> slots_;
  std::vector<PagedRow> rows_;  // where key squares are kept
};

}  // namespace precis
