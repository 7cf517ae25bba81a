#include "engine/model/grouped_attention.h"

namespace precis {
namespace {

constexpr size_t kKinds = 2;

}  // namespace

GroupedAttention::GroupedAttention(const Architecture& arch, const ModelWeights& weights,
                                   uint32_t max_rows, DeviceAllocator& allocator)
    : arch_(arch),
      weights_(weights),
      max_rows_(max_rows),
      num_kv_heads_(weights.decoder.front().self_groups.num_kv_heads()),
      backend_(allocator.backend()),
      ops_(backend_.grouping_ops()) {
  if (weights.head_shares) {
    assigned_ = allocator.Make<uint32_t>(weights.decoder.size() * kKinds * max_rows *
                                         (num_kv_heads_ + size_t{1}));
  }
  if (weights.subtracts_noise) {
    attended_ =
        allocator.Make<float>(size_t{max_rows} * arch.decoder.num_heads * arch.decoder.head_dim);
  }
}

size_t GroupedAttention::AssignedAt(size_t layer, AttentionKind kind) const {
  const size_t index = layer * kKinds + static_cast<size_t>(kind);
  return index * max_rows_ * (num_kv_heads_ + size_t{1});
}

std::vector<uint32_t> GroupedAttention::Assigned(size_t layer, AttentionKind kind,
                                                 size_t rows) const {
  if (assigned_.empty()) return {};
  std::vector<uint32_t> out(rows * (num_kv_heads_ + size_t{1}));
  backend_.Download(assigned_.data() + AssignedAt(layer, kind), out.size() * sizeof(uint32_t),
                    out.data());
  return out;
}

std::span<const uint32_t> GroupedAttention::Assign(const PagedAttentionParams& params, size_t layer,
                                                   AttentionKind kind) {
  const DecoderLayer& of = weights_.decoder[layer];
  const size_t values = params.rows.size() * (num_kv_heads_ + size_t{1});
  const std::span<uint32_t> begin{assigned_.data() + AssignedAt(layer, kind), values};
  ops_->AssignHeads({.rows = params.rows,
                     .pages = params.pages,
                     .pool = params.pool,
                     .region = params.region,
                     .shares = *weights_.head_shares,
                     .cached_norms = kind == AttentionKind::kSelf ? of.self_cached_norms()
                                                                  : of.cross_cached_norms(),
                     .num_heads = arch_.decoder.num_heads,
                     .begin = begin});
  return begin;
}

void GroupedAttention::Run(const PagedAttentionParams& params, size_t layer, AttentionKind kind,
                           std::span<const NoiseRow> noise) {
  if (params.append != nullptr && params.region.keeps_key_squares) {
    ops_->SumKeySquares({.k = params.append->k,
                         .row_stride = params.append->row_stride,
                         .rows = params.rows,
                         .pages = params.pages,
                         .pool = params.pool,
                         .region = params.region});
  }
  if (weights_.head_shares) {
    PagedAttentionParams by_row = params;
    by_row.assigned = Assign(params, layer, kind);
    return backend_.PagedAttention(by_row);
  }
  if (!weights_.subtracts_noise) return backend_.PagedAttention(params);
  PagedAttentionParams exact = params;
  exact.out = {attended_.data(), DType::kF32, params.out.rows, params.out.cols};
  backend_.PagedAttention(exact);
  ops_->SubtractNoise({.x = attended_.data(),
                       .rows = noise,
                       .layer = static_cast<uint32_t>(layer),
                       .kind = static_cast<uint32_t>(kind),
                       .num_heads = arch_.decoder.num_heads,
                       .head_dim = arch_.decoder.head_dim,
                       .group_size = arch_.decoder.num_heads / num_kv_heads_,
                       .out = params.out});
}

}  // namespace precis
