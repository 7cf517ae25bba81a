#include "engine/model/decoder.h"

#include <algorithm>

#include "engine/model/feed_forward.h"
#include "engine/model/sublayer.h"

namespace precis {
namespace {

size_t WidestRow(const ModelWeights& weights) {
  size_t widest = 0;
  for (const DecoderLayer& layer : weights.decoder) {
    widest = std::max({widest, layer.self_qkv->n(), layer.cross_q->n(), layer.ffn.wi->n()});
  }
  return widest;
}

}  // namespace

void DecodeBatch::Reserve(size_t max_rows, size_t max_self_pages, size_t max_cross_pages) {
  tokens.reserve(max_rows);
  slots.reserve(max_rows);
  self_rows.reserve(max_rows);
  self_pages.reserve(max_rows * max_self_pages);
  cross_rows.reserve(max_rows);
  cross_pages.reserve(max_rows * max_cross_pages);
  noise.reserve(max_rows);
}

void DecodeBatch::Clear() {
  tokens.clear();
  slots.clear();
  self_rows.clear();
  self_pages.clear();
  cross_rows.clear();
  cross_pages.clear();
  noise.clear();
}

Decoder::Decoder(const Architecture& arch, const ModelWeights& weights, const KvLayout& layout,
                 const KvPool& pool, uint32_t max_rows, DeviceAllocator& allocator)
    : arch_(arch),
      weights_(weights),
      layout_(layout),
      pool_(pool),
      backend_(allocator.backend()),
      inner_(size_t{arch.decoder.num_heads} * arch.decoder.head_dim),
      attention_(arch, weights, max_rows, allocator),
      x_(allocator.Make<float>(size_t{max_rows} * arch.d_model)),
      wide_(allocator.Make<float>(max_rows * WidestRow(weights))),
      scores_(allocator.Make<float>(max_rows * weights.lm_head.front().w->n())),
      normed_(allocator, weights.types.others, max_rows, arch.d_model),
      attended_(allocator, weights.types.others, max_rows, inner_),
      hidden_(allocator, weights.types.others, max_rows, arch.decoder.d_ff) {
  positions_.reserve(max_rows);
}

void Decoder::Run(const DecodeBatch& batch, VocabularySink& sink) {
  const size_t rows = batch.tokens.size();
  const Activations y = normed_.Rows(0, rows);
  positions_.clear();
  for (const PagedRow& row : batch.self_rows) positions_.push_back(row.position);
  EmbedTokens({batch.tokens, positions_, weights_.target_embedding()}, weights_.types.others,
              weights_.decoder_ends, arch_, y, backend_, x_.data());
  for (size_t i = 0; i < weights_.decoder.size(); ++i) {
    SelfAttention(i, batch);
    CrossAttention(i, batch);
    AddFeedForward(weights_.decoder[i].ffn, arch_, {y, wide_.data(), hidden_.Rows(0, rows)}, y,
                   backend_, x_.data());
  }
  if (arch_.final_norm) {
    backend_.Norm({x_.data(), weights_.decoder_ends.final_norm.Of(arch_), y});
  }
  for (const VocabularyPanel& panel : weights_.lm_head) {
    backend_.Gemm({y, *panel.w, false, scores_.data()});
    sink.Take(panel.first_token, panel.w->n(), scores_.data());
  }
}

void Decoder::SelfAttention(size_t i, const DecodeBatch& batch) {
  const DecoderLayer& layer = weights_.decoder[i];
  const KvRegion& region = layout_.self.layers[i];
  const size_t rows = batch.tokens.size();
  const size_t width = layer.self_qkv->n();
  const Activations y = normed_.Rows(0, rows);
  const Activations attended = attended_.Rows(0, rows);
  EnterSublayer(layer.self_norm, arch_, x_.data(), y, *layer.self_qkv, backend_, wide_.data());
  const float* k = wide_.data() + inner_;
  const AppendKvParams append = {.k = k,
                                 .v = k + (width - inner_) / 2,
                                 .row_stride = width,
                                 .slots = batch.slots,
                                 .pool = pool_,
                                 .region = region};
  attention_.Run({.append = &append,
                  .q = wide_.data(),
                  .q_stride = width,
                  .rows = batch.self_rows,
                  .pages = batch.self_pages,
                  .pool = pool_,
                  .region = region,
                  .groups = layer.self_groups.view(),
                  .bias = weights_.decoder_ends.bias.Of(i),
                  .out = attended},
                 i, AttentionKind::kSelf, batch.noise);
  backend_.Gemm({attended, *layer.self_o, true, x_.data()});
  LeaveSublayer(layer.self_norm, arch_, y, backend_, x_.data());
}

void Decoder::CrossAttention(size_t i, const DecodeBatch& batch) {
  const DecoderLayer& layer = weights_.decoder[i];
  const size_t rows = batch.tokens.size();
  const Activations y = normed_.Rows(0, rows);
  const Activations attended = attended_.Rows(0, rows);
  EnterSublayer(layer.cross_norm, arch_, x_.data(), y, *layer.cross_q, backend_, wide_.data());
  attention_.Run({.q = wide_.data(),
                  .q_stride = inner_,
                  .rows = batch.cross_rows,
                  .pages = batch.cross_pages,
                  .pool = pool_,
                  .region = layout_.cross.layers[i],
                  .groups = layer.cross_groups.view(),
                  .bias = {},
                  .out = attended},
                 i, AttentionKind::kCross, batch.noise);
  backend_.Gemm({attended, *layer.cross_o, true, x_.data()});
  LeaveSublayer(layer.cross_norm, arch_, y, backend_, x_.data());
}

}  // namespace precis
