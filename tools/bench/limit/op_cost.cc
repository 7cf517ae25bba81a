#include "tools/bench/limit/op_cost.h"

#include <algorithm>

#include "fmt/format.h"
#include "kernels/grouping_ops.h"

namespace precis {
namespace {

// K and V of one token in one layer, with their scales.
uint64_t TokenBytes(const KvRegion& r) {
  const uint64_t scale = r.dtype == DType::kI8 ? sizeof(float) : 0;
  return uint64_t{2} * r.num_kv_heads * (r.head_dim * ElementBytes(r.dtype) + scale);
}

uint64_t Bytes(const Activations& a) { return uint64_t{a.rows} * a.cols * ElementBytes(a.dtype); }

// Two products (scores and values), a multiplication and an addition each.
uint64_t AttentionFlops(uint64_t query_keys, uint64_t width) { return 4 * query_keys * width; }

OpCost Cost(const EmbedParams& p) {
  const uint64_t values = uint64_t{p.ids.size()} * p.d;
  const uint64_t position_bytes = p.position_table != nullptr ? sizeof(float) : 0;
  return {.kind = OpKind::kEmbed,
          .rows = p.ids.size(),
          .streamed_bytes = values * (ElementBytes(p.table_dtype) + position_bytes),
          .local_bytes = values * sizeof(float)};
}

// But for what it writes: x, and gain and shift once.
OpCost NormReadCost(const NormWeights& norm, const Activations& out) {
  const uint64_t vectors = norm.kind == NormKind::kLayer ? 2 : 1;
  const uint64_t read = (uint64_t{out.rows} + vectors) * out.cols * sizeof(float);
  return {.kind = OpKind::kNorm, .rows = out.rows, .local_bytes = read};
}

OpCost GemmCost(const Activations& in, const PackedMatrix& w, bool accumulate) {
  const uint64_t out = uint64_t{in.rows} * w.n() * sizeof(float);
  const uint64_t bias = w.has_bias() ? w.n() * sizeof(float) : 0;
  return {.kind = OpKind::kGemm,
          .dtype = w.dtype(),
          .n = static_cast<uint32_t>(w.n()),
          .k = static_cast<uint32_t>(w.k()),
          .rows = in.rows,
          .flops = uint64_t{2} * in.rows * w.n() * w.k(),
          .streamed_bytes = uint64_t{w.n()} * w.k() * ElementBytes(w.dtype()) + bias,
          .local_bytes = Bytes(in) + (accumulate ? 2 * out : out),
          .regions = 1};
}

OpCost Cost(const NormParams& p) {
  OpCost cost = NormReadCost(p.norm, p.out);
  if (p.out.data != nullptr) cost.local_bytes += Bytes(p.out);
  if (p.residual != nullptr) cost.local_bytes += uint64_t{p.out.rows} * p.out.cols * sizeof(float);
  return cost;
}

OpCost Cost(const GemmParams& p) { return GemmCost(p.in, p.w, p.accumulate); }

// Of a GEMM the rows of which are made on the way: they are neither written nor read.
OpCost GemmOfCost(const OpCost& reading, const Activations& rows, const PackedMatrix& w,
                  bool accumulate) {
  OpCost cost = GemmCost(rows, w, accumulate);
  cost.local_bytes += reading.local_bytes - Bytes(rows);
  return cost;
}

// But for what it writes.
OpCost ActivateReadCost(bool gated, const Activations& out) {
  const uint64_t values = uint64_t{out.rows} * out.cols;
  const uint64_t read = (gated ? 2 : 1) * values * sizeof(float);
  return {.kind = OpKind::kActivate, .rows = out.rows, .local_bytes = read};
}

OpCost Cost(const ActivateParams& p) {
  OpCost cost = ActivateReadCost(p.gated, p.out);
  cost.local_bytes += Bytes(p.out);
  return cost;
}

OpCost Cost(const GemmOfNormParams& p) {
  return GemmOfCost(NormReadCost(p.norm, p.rows), p.rows, p.w, /*accumulate=*/false);
}

OpCost Cost(const GemmOfActivatedParams& p) {
  return GemmOfCost(ActivateReadCost(p.gated, p.rows), p.rows, p.w, /*accumulate=*/true);
}

OpCost Cost(const EncoderAttentionParams& p) {
  const uint64_t width = uint64_t{p.num_heads} * p.head_dim;
  const uint64_t rows = p.out.rows;
  return {.kind = OpKind::kEncoderAttention,
          .dtype = p.out.dtype,
          .rows = rows,
          .flops = AttentionFlops(rows * p.num_keys, width),
          .local_bytes = (rows + uint64_t{2} * p.num_keys) * width * sizeof(float) + Bytes(p.out),
          .regions = 1};
}

OpCost Cost(const AppendKvParams& p) {
  const uint64_t rows = p.slots.size();
  const uint64_t values = uint64_t{2} * p.region.num_kv_heads * p.region.head_dim;
  return {.kind = OpKind::kAppendKv,
          .rows = rows,
          .streamed_bytes = rows * TokenBytes(p.region),
          .local_bytes = rows * values * sizeof(float)};
}

// As if every KV head served a query head: of one that serves none nothing is read, but where ops
// are only written down no one assigns heads.
OpCost Cost(const PagedAttentionParams& p) {
  uint64_t query_keys = 0;
  uint64_t read_keys = 0;  // a table that several rows share is read once
  uint64_t tables = 0;
  for (size_t i = 0; i < p.rows.size();) {
    uint64_t longest = 0;
    const uint32_t first_page = p.rows[i].first_page;
    for (; i < p.rows.size() && p.rows[i].first_page == first_page; ++i) {
      query_keys += p.rows[i].num_keys;
      longest = std::max<uint64_t>(longest, p.rows[i].num_keys);
    }
    read_keys += longest;
    ++tables;
  }
  const uint64_t heads = p.groups.heads.size();
  const uint64_t width = heads * p.region.head_dim;
  const OpCost append = p.append != nullptr ? Cost(*p.append) : OpCost{};
  const uint64_t reads = std::max<uint64_t>(tables * p.region.num_kv_heads, 1);
  return {.kind = p.bias.data != nullptr ? OpKind::kSelfAttention : OpKind::kCrossAttention,
          .dtype = p.region.dtype,
          .rows = (p.rows.size() * heads + reads - 1) / reads,
          .flops = AttentionFlops(query_keys, width),
          .streamed_bytes = read_keys * TokenBytes(p.region) + append.streamed_bytes,
          .local_bytes = p.rows.size() * width * sizeof(float) + Bytes(p.out) + append.local_bytes,
          .regions = 1};
}

OpCost Cost(const CopySlotsParams& p) {
  uint64_t slots = 0;
  for (const PageCopyRef& copy : p.copies) slots += copy.slots;
  uint64_t token_bytes = 0;
  for (const KvRegion& layer : p.layers) token_bytes += TokenBytes(layer);
  return {.kind = OpKind::kCopySlots,
          .rows = p.copies.size(),
          .streamed_bytes = 2 * slots * token_bytes};
}

OpCost Cost(const SumKeySquaresParams& p) {
  const uint64_t values = uint64_t{p.rows.size()} * p.region.num_kv_heads;
  return {.kind = OpKind::kSumKeySquares,
          .rows = p.rows.size(),
          .streamed_bytes = 2 * values * sizeof(float),
          .local_bytes = values * p.region.head_dim * sizeof(float)};
}

OpCost Cost(const AssignHeadsParams& p) {
  return {.kind = OpKind::kAssignHeads,
          .rows = p.rows.size(),
          .streamed_bytes = uint64_t{p.rows.size()} * p.region.num_kv_heads * sizeof(float),
          .local_bytes = p.begin.size_bytes()};
}

OpCost Cost(const SubtractNoiseParams& p) {
  const uint64_t read = uint64_t{p.out.rows} * p.out.cols * sizeof(float);
  return {.kind = OpKind::kSubtractNoise, .rows = p.out.rows, .local_bytes = read + Bytes(p.out)};
}

OpCost Cost(const ReduceScoresParams& p) {
  return {.kind = OpKind::kReduceScores,
          .rows = p.rows.size(),
          .local_bytes = uint64_t{p.rows.size()} * p.count * sizeof(float)};
}

// The cost of the first of these ops that the call is of.
template <typename... Params>
std::optional<OpCost> FirstCost(const OpCall& op) {
  std::optional<OpCost> cost;
  const auto take = [&](const auto* params) {
    if (params != nullptr) cost = Cost(*params);
    return params != nullptr;
  };
  static_cast<void>((take(op.As<Params>()) || ...));
  return cost;
}

}  // namespace

std::string OpName(const OpCost& cost) {
  switch (cost.kind) {
    case OpKind::kEmbed:
      return "embed";
    case OpKind::kNorm:
      return "norm";
    case OpKind::kGemm:
      return fmt::format("gemm {}x{}", cost.k, cost.n);
    case OpKind::kActivate:
      return "activate";
    case OpKind::kEncoderAttention:
      return "encoder attention";
    case OpKind::kAppendKv:
      return "append kv";
    case OpKind::kSelfAttention:
      return "self attention";
    case OpKind::kCrossAttention:
      return "cross attention";
    case OpKind::kCopySlots:
      return "copy pages";
    case OpKind::kReduceScores:
      return "reduce scores";
    case OpKind::kSumKeySquares:
      return "sum key squares";
    case OpKind::kAssignHeads:
      return "assign heads";
    case OpKind::kSubtractNoise:
      return "subtract noise";
  }
  return "";
}

std::optional<OpCost> CostOf(const OpCall& op) {
  return FirstCost<EmbedParams, NormParams, GemmParams, ActivateParams, GemmOfNormParams,
                   GemmOfActivatedParams, EncoderAttentionParams, AppendKvParams,
                   PagedAttentionParams, CopySlotsParams, ReduceScoresParams, SumKeySquaresParams,
                   AssignHeadsParams, SubtractNoiseParams>(op);
}

const PackedMatrix* MatrixOf(const OpCall& op) {
  if (const auto* p = op.As<GemmParams>()) return &p->w;
  if (const auto* p = op.As<GemmOfNormParams>()) return &p->w;
  if (const auto* p = op.As<GemmOfActivatedParams>()) return &p->w;
  return nullptr;
}

}  // namespace precis
