#include "engine/model/grouping/head_folding.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"
#include "fmt/format.h"

namespace precis {
namespace {

FoldKind KindOf(AttentionVariant variant) {
  switch (variant) {
    case AttentionVariant::kWgqa:
      return FoldKind::kScalar;
    case AttentionVariant::kColWgqa:
      return FoldKind::kColumn;
    case AttentionVariant::kRowWgqa:
      return FoldKind::kRow;
    default:
      return FoldKind::kMean;
  }
}

int64_t WeightsPerHead(FoldKind kind, uint32_t head_dim, uint32_t d_model) {
  switch (kind) {
    case FoldKind::kMean:
      return 0;
    case FoldKind::kScalar:
      return 1;
    case FoldKind::kColumn:
      return head_dim;
    case FoldKind::kRow:
      return d_model;
  }
  return 0;
}

// sums[c] += w * row[c], where w may depend on c.
void AddRow(std::span<const float> row, FoldKind kind, std::span<const float> head_weights,
            size_t head, size_t dimension, size_t head_dim, std::span<double> sums) {
  if (kind == FoldKind::kRow) {
    const std::span<const float> w = head_weights.subspan(head * row.size(), row.size());
    for (size_t c = 0; c < row.size(); ++c) sums[c] += double{w[c]} * row[c];
    return;
  }
  double w = 1.0;
  if (kind == FoldKind::kScalar) w = head_weights[head];
  if (kind == FoldKind::kColumn) w = head_weights[head * head_dim + dimension];
  for (size_t c = 0; c < row.size(); ++c) sums[c] += w * row[c];
}

// A group whose weights are all zero would give a KV head that says nothing: a training that
// failed or a parameter that was never saved.
Status CheckWeights(const std::string& where, const HeadGrouping& grouping,
                    std::span<const float> weights, size_t per_head) {
  for (size_t g = 0; g < grouping.groups.size(); ++g) {
    bool all_zero = true;
    for (const uint32_t head : grouping.groups[g]) {
      const auto of_head = weights.subspan(head * per_head, per_head);
      all_zero &= std::ranges::all_of(of_head, [](float w) { return w == 0.0f; });
    }
    if (all_zero) {
      return InvalidArgument(
          fmt::format("{}: the weights of all heads of KV head {} are zero", where, g));
    }
  }
  return OkStatus();
}

StatusOr<int64_t> StoredRows(const Checkpoint& checkpoint, const std::string& name, int64_t all,
                             int64_t grouped, AttentionVariant variant) {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, checkpoint.Shape(name));
  // The others say how to fold, so there must be something to fold.
  return MayBeStoredGrouped(variant) && !shape.empty() && shape[0] == grouped ? grouped : all;
}

Status CheckFinite(const Checkpoint& checkpoint, const std::string& name,
                   std::span<const float> folded) {
  const auto is_bad = [](float value) { return !std::isfinite(value); };
  const auto bad = std::ranges::find_if(folded, is_bad);
  if (bad == folded.end()) return OkStatus();
  return InvalidArgument(fmt::format("{}: folded value {} at index {} is not finite",
                                     checkpoint.Describe(name), *bad, bad - folded.begin()));
}

std::string FoldedText(const ModelConfig& config, AttentionVariant variant, size_t groups,
                       const std::string& weights) {
  std::string text = fmt::format("{} heads into {}", config.decoder.num_heads, groups);
  if (variant == AttentionVariant::kSimGqa) text += " by head_order";
  if (variant == AttentionVariant::kQcqa) text += " by head_groups";
  return text + (weights.empty() ? ", mean" : ", learned weights " + weights);
}

}  // namespace

std::vector<float> FoldHeads(std::span<const float> weight, uint32_t head_dim, uint32_t d_model,
                             const HeadGrouping& grouping, FoldKind kind,
                             std::span<const float> head_weights) {
  const size_t num_heads = weight.size() / (size_t{head_dim} * d_model);
  PRECIS_CHECK(weight.size() == num_heads * head_dim * d_model);
  PRECIS_CHECK(head_weights.size() ==
               num_heads * static_cast<size_t>(WeightsPerHead(kind, head_dim, d_model)));
  std::vector<float> folded;
  folded.reserve(grouping.groups.size() * head_dim * d_model);
  std::vector<double> sums(d_model);
  for (const std::vector<uint32_t>& group : grouping.groups) {
    const double scale = kind == FoldKind::kMean ? 1.0 / static_cast<double>(group.size()) : 1.0;
    for (size_t dimension = 0; dimension < head_dim; ++dimension) {
      std::ranges::fill(sums, 0.0);
      for (const uint32_t head : group) {
        PRECIS_CHECK(head < num_heads);
        const auto row = weight.subspan((head * size_t{head_dim} + dimension) * d_model, d_model);
        AddRow(row, kind, head_weights, head, dimension, head_dim, sums);
      }
      for (const double sum : sums) folded.push_back(static_cast<float>(sum * scale));
    }
  }
  return folded;
}

std::vector<float> FoldBias(std::span<const float> bias, uint32_t head_dim,
                            const HeadGrouping& grouping, FoldKind kind,
                            std::span<const float> head_weights) {
  if (kind == FoldKind::kRow) return FoldHeads(bias, head_dim, 1, grouping, FoldKind::kMean, {});
  return FoldHeads(bias, head_dim, 1, grouping, kind, head_weights);
}

StatusOr<GroupedProjection> ReadGroupedProjection(Checkpoint& checkpoint, const ModelConfig& config,
                                                  const ResolvedAttention& attention,
                                                  const HeadGrouping& grouping,
                                                  std::string_view prefix, char which) {
  const uint32_t head_dim = config.decoder.head_dim;
  const std::string name = config.names.Projection(prefix, which);
  const int64_t all = int64_t{config.decoder.num_heads} * head_dim;
  const int64_t grouped = static_cast<int64_t>(grouping.groups.size()) * head_dim;
  PRECIS_ASSIGN_OR_RETURN(const int64_t rows,
                          StoredRows(checkpoint, name, all, grouped, attention.variant));
  GroupedProjection stored;
  PRECIS_ASSIGN_OR_RETURN(stored.weight, checkpoint.Read(name, {rows, int64_t{config.d_model}}));
  if (config.biases) {
    PRECIS_ASSIGN_OR_RETURN(stored.bias, checkpoint.Read(BiasOf(name), {rows}));
  }
  const bool is_folded_already = rows != all || attention.variant == AttentionVariant::kMha;
  const FoldKind kind = KindOf(attention.variant);
  const bool has_own_order = attention.variant == AttentionVariant::kSimGqa ||
                             attention.variant == AttentionVariant::kQcqa;
  const bool is_identity = rows == grouped && kind == FoldKind::kMean && !has_own_order;
  if (is_folded_already || is_identity) return stored;

  std::vector<float> head_weights;
  std::string weights_text;
  if (kind != FoldKind::kMean) {
    const std::string weights_name = fmt::format("{}w{}1", prefix, which);
    const int64_t per_head = WeightsPerHead(kind, head_dim, config.d_model);
    PRECIS_ASSIGN_OR_RETURN(
        head_weights, checkpoint.Read(weights_name, {int64_t{config.decoder.num_heads}, per_head}));
    PRECIS_RETURN_IF_ERROR(CheckWeights(checkpoint.Describe(weights_name), grouping, head_weights,
                                        static_cast<size_t>(per_head)));
    weights_text = fmt::format("w{}1 [{}, {}]", which, config.decoder.num_heads, per_head);
  }
  GroupedProjection out;
  out.weight = FoldHeads(stored.weight, head_dim, config.d_model, grouping, kind, head_weights);
  PRECIS_RETURN_IF_ERROR(CheckFinite(checkpoint, name, out.weight));
  if (config.biases) {
    out.bias = FoldBias(stored.bias, head_dim, grouping, kind, head_weights);
    PRECIS_RETURN_IF_ERROR(CheckFinite(checkpoint, BiasOf(name), out.bias));
  }
  out.what_was_folded = FoldedText(config, attention.variant, grouping.groups.size(), weights_text);
  return out;
}

}  // namespace precis
