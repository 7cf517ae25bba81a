#include "engine/model/encoder.h"

#include <algorithm>
#include <numeric>

#include "engine/model/feed_forward.h"
#include "engine/model/sublayer.h"
#include "kernels/grouping_ops.h"

namespace precis {
namespace {

size_t WidestRow(const ModelWeights& weights) {
  size_t widest = 0;
  for (const EncoderLayer& layer : weights.encoder) widest = std::max(widest, layer.ffn.wi->n());
  for (const DecoderLayer& layer : weights.decoder) widest = std::max(widest, layer.cross_kv->n());
  return widest;
}

}  // namespace

Encoder::Encoder(const Architecture& arch, const ModelWeights& weights, const KvLayout& layout,
                 const KvPool& pool, uint32_t max_slice_rows, DeviceAllocator& allocator)
    : arch_(arch),
      weights_(weights),
      layout_(layout),
      pool_(pool),
      backend_(allocator.backend()),
      inner_(size_t{arch.encoder.num_heads} * arch.encoder.head_dim),
      normed_(allocator, weights.types.others, max_slice_rows, arch.d_model),
      attended_(allocator, weights.types.others, max_slice_rows, inner_),
      hidden_(allocator, weights.types.others, max_slice_rows, arch.encoder.d_ff),
      wide_(allocator.Make<float>(max_slice_rows * WidestRow(weights))),
      positions_(max_slice_rows),
      slots_(max_slice_rows),
      rows_(max_slice_rows) {}

void Encoder::Run(const EncodeItem& item, std::span<const int32_t> ids,
                  std::span<const PageId> cross_pages, EncoderWorkspace& workspace) {
  switch (item.stage) {
    case EncodeStage::kQkv:
      return Qkv(item, ids, workspace);
    case EncodeStage::kAttention:
      return AttentionAndFeedForward(item, static_cast<uint32_t>(ids.size()), workspace);
    case EncodeStage::kCross:
      return Cross(item, cross_pages, workspace);
  }
}

void Encoder::Qkv(const EncodeItem& item, std::span<const int32_t> ids,
                  EncoderWorkspace& workspace) {
  const EncoderLayer& layer = weights_.encoder[item.layer];
  const size_t rows = item.row_end - item.row_begin;
  float* x = workspace.x.data() + size_t{item.row_begin} * arch_.d_model;
  const Activations encoded = workspace.encoded.Rows(item.row_begin, rows);
  if (item.layer == 0) {
    const std::span<uint32_t> positions = std::span(positions_).first(rows);
    std::iota(positions.begin(), positions.end(), item.row_begin);
    EmbedTokens({ids.subspan(item.row_begin, rows), positions, weights_.embedding.data()},
                weights_.types.others, weights_.encoder_ends, arch_, encoded, backend_, x);
  }
  const Activations y = arch_.norm_place == NormPlace::kAfter ? encoded : normed_.Rows(0, rows);
  EnterSublayer(layer.norm, arch_, x, y, *layer.qkv, backend_,
                workspace.qkv.data() + item.row_begin * 3 * inner_);
}

void Encoder::AttentionAndFeedForward(const EncodeItem& item, uint32_t tokens,
                                      EncoderWorkspace& workspace) {
  const EncoderLayer& layer = weights_.encoder[item.layer];
  const size_t rows = item.row_end - item.row_begin;
  float* x = workspace.x.data() + size_t{item.row_begin} * arch_.d_model;

  const Activations attended = attended_.Rows(0, rows);
  const float* qkv = workspace.qkv.data();
  backend_.EncoderAttention({.q = qkv,
                             .k = qkv + inner_,
                             .v = qkv + 2 * inner_,
                             .row_stride = 3 * inner_,
                             .num_keys = tokens,
                             .num_heads = arch_.encoder.num_heads,
                             .head_dim = arch_.encoder.head_dim,
                             .begin = item.row_begin,
                             .bias = weights_.encoder_ends.bias.Of(item.layer),
                             .out = attended,
                             .packed = workspace.packed.data(),
                             .is_packed = item.row_begin > 0});
  backend_.Gemm({attended, *layer.o, true, x});

  const Activations normed = normed_.Rows(0, rows);
  const Activations encoded = workspace.encoded.Rows(item.row_begin, rows);
  LeaveSublayer(layer.norm, arch_, normed, backend_, x);
  AddFeedForward(layer.ffn, arch_, {normed, wide_.data(), hidden_.Rows(0, rows)}, encoded, backend_,
                 x);
  if (arch_.final_norm && item.layer + 1 == arch_.encoder.layers) {
    backend_.Norm({x, weights_.encoder_ends.final_norm.Of(arch_), encoded});
  }
}

void Encoder::Cross(const EncodeItem& item, std::span<const PageId> cross_pages,
                    EncoderWorkspace& workspace) {
  const PackedMatrix& w = *weights_.decoder[item.layer].cross_kv;
  const KvRegion& region = layout_.cross.layers[item.layer];
  const size_t rows = item.row_end - item.row_begin;
  backend_.Gemm({workspace.encoded.Rows(item.row_begin, rows), w, false, wide_.data()});
  for (size_t i = 0; i < rows; ++i) {
    const uint32_t position = item.row_begin + static_cast<uint32_t>(i);
    slots_[i] = {cross_pages[position / region.slots], position % region.slots};
    rows_[i] = {.first_page = 0, .num_keys = position + 1, .position = position};
  }
  backend_.AppendKv({.k = wide_.data(),
                     .v = wide_.data() + w.n() / 2,
                     .row_stride = w.n(),
                     .slots = {slots_.data(), rows},
                     .pool = pool_,
                     .region = region});
  if (!region.keeps_key_squares) return;
  backend_.grouping_ops()->SumKeySquares({.k = wide_.data(),
                                          .row_stride = w.n(),
                                          .rows = {rows_.data(), rows},
                                          .pages = cross_pages,
                                          .pool = pool_,
                                          .region = region});
}

}  // namespace precis
