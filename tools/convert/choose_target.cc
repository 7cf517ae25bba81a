#include "tools/convert/choose_target.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "engine/load/load_types.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/kv_layout.h"
#include "fmt/format.h"
#include "tools/convert/capacity.h"
#include "tools/convert/head_similarity.h"
#include "tools/convert/partition_search.h"

namespace precis {
namespace {

constexpr AttentionVariant kMakeable[] = {
    AttentionVariant::kGqa,     AttentionVariant::kMqa,     AttentionVariant::kWgqa,
    AttentionVariant::kColWgqa, AttentionVariant::kRowWgqa, AttentionVariant::kSimGqa,
    AttentionVariant::kQcqa,    AttentionVariant::kKdGqa,   AttentionVariant::kDgqaDiff,
    AttentionVariant::kDgqaEma, AttentionVariant::kPgqa};

std::optional<AttentionVariant> Makeable(const std::string& name) {
  for (const AttentionVariant variant : kMakeable) {
    if (AttentionVariantName(variant) == name) return variant;
  }
  return std::nullopt;
}

bool IsWeighted(AttentionVariant variant) {
  return variant == AttentionVariant::kWgqa || variant == AttentionVariant::kColWgqa ||
         variant == AttentionVariant::kRowWgqa;
}

std::string FoldHint(const ResolvedAttention& source) {
  return fmt::format("is {} with {} KV heads; --variant starts from MHA (--fold mha makes one)",
                     AttentionVariantName(source.variant), source.num_kv_heads);
}

// KV heads of all decoder layers of a kind together, at most.
StatusOr<uint32_t> Budget(const ConvertOptions& options, const ModelConfig& config,
                          AttentionVariant variant) {
  const uint32_t layers = config.decoder.layers;
  if (options.kv_heads > config.decoder.num_heads) {
    return InvalidArgument(fmt::format("--kv-heads: {} is more than num_heads {} of {}",
                                       options.kv_heads, config.decoder.num_heads, config.file));
  }
  if (options.kv_heads != 0) return options.kv_heads * layers;
  PRECIS_ASSIGN_OR_RETURN(const DType type,
                          ParseDType("--kv-dtype", options.kv_dtype, std::nullopt));
  const uint64_t of_one = BytesOfOneHead(config, type, variant);
  if (options.kv_bytes < of_one) {
    return InvalidArgument(fmt::format(
        "--kv-bytes: {} is less than the {} that one KV head in each of {} decoder layers takes in "
        "{}",
        options.kv_bytes, of_one, layers, options.kv_dtype));
  }
  const uint64_t of_a_layers_head = of_one / layers;
  return static_cast<uint32_t>(std::min<uint64_t>(options.kv_bytes / of_a_layers_head,
                                                  uint64_t{config.decoder.num_heads} * layers));
}

// The KV heads of every layer, where all have the same number of equal groups.
StatusOr<uint32_t> EvenKvHeads(const ConvertOptions& options, const ModelConfig& config,
                               AttentionVariant variant) {
  if (variant == AttentionVariant::kMqa) return 1u;
  PRECIS_ASSIGN_OR_RETURN(const uint32_t budget, Budget(options, config, variant));
  uint32_t groups = budget / config.decoder.layers;
  if (options.kv_heads == 0) {
    while (config.decoder.num_heads % groups != 0) --groups;
  } else if (config.decoder.num_heads % groups != 0) {
    return InvalidArgument(
        fmt::format("--kv-heads: {} does not divide num_heads {} of {}, and {} has equal groups "
                    "(qcqa's may differ)",
                    groups, config.decoder.num_heads, config.file, AttentionVariantName(variant)));
  }
  return groups;
}

class Searcher {
 public:
  Searcher(const ConvertOptions& options, Checkpoint& checkpoint, const ModelConfig& config,
           ConvertWork& work)
      : options_(options), checkpoint_(checkpoint), config_(config), work_(work) {}

  // SimGQA: heads in the order of their similarity, cut into equal groups.
  Status GroupSimilar(uint32_t kv_heads, LayerGroupings* out) {
    work_.BeginPhase("comparing heads of", uint64_t{config_.decoder.layers} * 2);
    const uint32_t size = config_.decoder.num_heads / kv_heads;
    return ForEachAttention([&](const std::string& prefix, bool cross) -> Status {
      PRECIS_ASSIGN_OR_RETURN(const std::vector<float> q,
                              Read(config_.names.Projection(prefix, 'q')));
      uint32_t zero_head = 0;
      const std::vector<uint32_t> order =
          OrderBySimilarity(q, config_.decoder.num_heads, &zero_head);
      if (order.empty()) {
        return InvalidArgument(
            fmt::format("{}: head {} is all zero: it is similar to nothing",
                        checkpoint_.Describe(config_.names.Projection(prefix, 'q')), zero_head));
      }
      HeadGrouping& grouping = (cross ? out->cross : out->self).emplace_back();
      for (auto begin = order.begin(); begin != order.end(); begin += size) {
        grouping.groups.emplace_back(begin, begin + size);
      }
      return OkStatus();
    });
  }

  // QCQA: partitions of every attention for every number of groups, then a split of the budget.
  Status GroupByCapacity(uint32_t budget, ChosenTarget* out) {
    work_.BeginPhase("searching groups of", uint64_t{config_.decoder.layers} * 2);
    PRECIS_RETURN_IF_ERROR(ForEachAttention([&](const std::string& prefix, bool cross) -> Status {
      HeadDistances distances(config_.decoder.num_heads);
      for (const char which : {'k', 'v'}) {
        PRECIS_ASSIGN_OR_RETURN(const std::vector<float> weight,
                                Read(config_.names.Projection(prefix, which)));
        distances.Add(weight);
      }
      Kind& kind = kinds_[cross ? 1 : 0];
      kind.energy += distances.energy();
      AddEvenErrors(distances, kind);
      SearchOptions search;
      search.seed = options_.seed;
      kind.found.push_back(SearchPartitions(distances, search));
      return OkStatus();
    }));
    const CapacitySplit self = SplitOf(kinds_[0]);
    const CapacitySplit cross = SplitOf(kinds_[1]);
    Take(kinds_[0], self.CountsOf(budget), &out->target.groupings.self);
    Take(kinds_[1], cross.CountsOf(budget), &out->target.groupings.cross);
    PRECIS_RETURN_IF_ERROR(DrawCurve(self, cross, &out->curve));
    out->curve_kv_heads = double{1} * budget / config_.decoder.layers;
    return OkStatus();
  }

 private:
  // Self- or cross-attention of all layers.
  struct Kind {
    std::vector<std::vector<FoundPartition>> found;  // [layer][groups - 1]
    std::vector<double> even;                        // [groups - 1]: GQA's error
    double energy = 0;
  };

  Status ForEachAttention(const std::function<Status(const std::string&, bool)>& act) {
    for (uint32_t layer = 0; layer < config_.decoder.layers; ++layer) {
      for (const bool cross : {false, true}) {
        const std::string prefix = config_.names.DecoderAttention(layer, cross);
        PRECIS_RETURN_IF_ERROR(act(prefix, cross));
        PRECIS_RETURN_IF_ERROR(work_.Advance(prefix.substr(0, prefix.size() - 1), 1));
      }
    }
    return OkStatus();
  }

  StatusOr<std::vector<float>> Read(const std::string& name) {
    return checkpoint_.Read(
        name, {int64_t{config_.decoder.num_heads} * config_.decoder.head_dim, config_.d_model});
  }

  void AddEvenErrors(const HeadDistances& distances, Kind& kind) {
    kind.even.resize(config_.decoder.num_heads);
    for (uint32_t groups = 1; groups <= config_.decoder.num_heads; ++groups) {
      kind.even[groups - 1] +=
          SharingError(distances, NeighbouringHeads(config_.decoder.num_heads, groups));
    }
  }

  static CapacitySplit SplitOf(const Kind& kind) {
    std::vector<std::vector<double>> errors;
    for (const auto& layer : kind.found) {
      auto& of_layer = errors.emplace_back();
      for (const FoundPartition& found : layer) of_layer.push_back(found.error);
    }
    return CapacitySplit(std::move(errors));
  }

  static void Take(const Kind& kind, const std::vector<uint32_t>& counts,
                   std::vector<HeadGrouping>* out) {
    for (size_t layer = 0; layer < counts.size(); ++layer) {
      out->push_back(kind.found[layer][counts[layer] - 1].grouping);
    }
  }

  Status DrawCurve(const CapacitySplit& self, const CapacitySplit& cross,
                   std::vector<CapacityPoint>* out) {
    PRECIS_ASSIGN_OR_RETURN(const DType type,
                            ParseDType("--kv-dtype", options_.kv_dtype, std::nullopt));
    const uint32_t layers = config_.decoder.layers;
    const uint64_t of_a_layers_head =
        BytesOfOneHead(config_, type, AttentionVariant::kQcqa) / layers;
    const auto share = [](double error, const Kind& kind) {
      return kind.energy > 0 ? error / kind.energy : 0;
    };
    for (uint32_t total = self.least(); total <= self.most(); ++total) {
      CapacityPoint& point = out->emplace_back();
      point.kv_heads = double{1} * total / layers;
      point.bytes_per_token = total * of_a_layers_head;
      point.self_error = share(self.ErrorOf(total), kinds_[0]);
      point.cross_error = share(cross.ErrorOf(total), kinds_[1]);
      const uint32_t groups = total / layers;
      if (total % layers != 0 || config_.decoder.num_heads % groups != 0) continue;
      point.gqa_self_error = share(kinds_[0].even[groups - 1], kinds_[0]);
      point.gqa_cross_error = share(kinds_[1].even[groups - 1], kinds_[1]);
    }
    return OkStatus();
  }

  const ConvertOptions& options_;
  Checkpoint& checkpoint_;
  const ModelConfig& config_;
  ConvertWork& work_;
  Kind kinds_[2];
};

uint32_t LargestOf(const LayerGroupings& groupings) {
  size_t largest = 0;
  for (const auto* layers : {&groupings.self, &groupings.cross}) {
    for (const HeadGrouping& grouping : *layers) {
      largest = std::max(largest, grouping.groups.size());
    }
  }
  return static_cast<uint32_t>(largest);
}

StatusOr<ChosenTarget> ChooseFold(const ConvertOptions& options, const Checkpoint& checkpoint,
                                  const ModelConfig& config, const ResolvedAttention& source) {
  if (source.variant == AttentionVariant::kMha) {
    return InvalidArgument(
        fmt::format("{}: attention_variant: is mha: there is nothing to fold", config.file));
  }
  if (AssignsHeads(source.variant) || source.variant == AttentionVariant::kPgqa) {
    return InvalidArgument(
        fmt::format("{}: attention_variant: {} {}: no other grouping gives its answers",
                    config.file, AttentionVariantName(source.variant),
                    AssignsHeads(source.variant) ? "has no fixed groups" : "subtracts noise"));
  }
  ChosenTarget out;
  out.fold = source;
  if (options.fold == "mha") {
    out.target.variant = AttentionVariant::kMha;
    out.target.num_kv_heads = config.decoder.num_heads;
    out.target.groupings = Groupings(config, {AttentionVariant::kMha, config.decoder.num_heads});
    out.target.projections = Projections::kRepeated;
    return out;
  }
  if (source.variant == AttentionVariant::kSimGqa || source.variant == AttentionVariant::kQcqa) {
    return InvalidArgument(
        fmt::format("{}: attention_variant: {} shares KV heads between heads that are no "
                    "neighbours, which gqa cannot say; --fold mha can",
                    config.file, AttentionVariantName(source.variant)));
  }
  const std::string first =
      config.names.Projection(config.names.DecoderAttention(0, /*cross=*/false), 'k');
  PRECIS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, checkpoint.Shape(first));
  const int64_t inner = int64_t{config.decoder.num_heads} * config.decoder.head_dim;
  if (!IsWeighted(source.variant) && (shape.empty() || shape[0] != inner)) {
    return InvalidArgument(
        fmt::format("{}: shape {} is of {} KV heads already: there is nothing "
                    "to fold",
                    checkpoint.Describe(first), ShapeText(shape), source.num_kv_heads));
  }
  out.target.variant = source.num_kv_heads == 1 ? AttentionVariant::kMqa : AttentionVariant::kGqa;
  out.target.num_kv_heads = source.num_kv_heads;
  out.target.groupings = Groupings(config, source);
  out.target.projections = Projections::kFolded;
  return out;
}

}  // namespace

uint64_t BytesOfOneHead(const ModelConfig& config, DType kv_dtype, AttentionVariant variant) {
  const std::vector<uint32_t> one(config.decoder.layers, 1);
  return MakeKvLayout(one, one, config.decoder.head_dim, kv_dtype, AssignsHeads(variant))
      .self.bytes_per_token;
}

bool NeedsSearch(const ConvertOptions& options) {
  return options.variant == AttentionVariantName(AttentionVariant::kSimGqa) ||
         options.variant == AttentionVariantName(AttentionVariant::kQcqa);
}

Status CheckWords(const ConvertOptions& options) {
  if (options.destination.empty()) return InvalidArgument("the destination has no name");
  if (options.variant.empty() == options.fold.empty()) {
    return InvalidArgument("say either --variant or --fold");
  }
  if (!options.fold.empty() && options.fold != "gqa" && options.fold != "mha") {
    return InvalidArgument(fmt::format("--fold: '{}' is unknown; gqa and mha are", options.fold));
  }
  if (!options.fold.empty()) {
    if (options.kv_bytes == 0) return OkStatus();
    return InvalidArgument("--kv-bytes: folding keeps the KV heads that the checkpoint has");
  }
  const std::optional<AttentionVariant> variant = Makeable(options.variant);
  if (!variant) {
    std::string known;
    for (const AttentionVariant one : kMakeable) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", AttentionVariantName(one));
    }
    return InvalidArgument(
        fmt::format("--variant: '{}' is unknown; known are {}", options.variant, known));
  }
  if (options.random_weights && !IsWeighted(*variant)) {
    return InvalidArgument(
        fmt::format("--random-weights: {} has no head weights", options.variant));
  }
  if (*variant == AttentionVariant::kMqa) {
    if (options.kv_heads <= 1 && options.kv_bytes == 0) return OkStatus();
    return InvalidArgument("--kv-heads, --kv-bytes: mqa has one KV head");
  }
  if ((options.kv_heads == 0) == (options.kv_bytes == 0)) {
    return InvalidArgument(
        fmt::format("{} needs either --kv-heads or --kv-bytes", options.variant));
  }
  return OkStatus();
}

StatusOr<ChosenTarget> ChooseTarget(const ConvertOptions& options, Checkpoint& checkpoint,
                                    const ModelConfig& config, const ResolvedAttention& source,
                                    ConvertWork& work) {
  if (!options.fold.empty()) return ChooseFold(options, checkpoint, config, source);
  if (source.variant != AttentionVariant::kMha) {
    return InvalidArgument(fmt::format("{}: attention_variant: {}", config.file, FoldHint(source)));
  }
  const AttentionVariant variant = *Makeable(options.variant);
  ChosenTarget out;
  ConvertTarget& target = out.target;
  target.variant = variant;
  if (options.random_weights) target.random_weights = options.seed;
  Searcher searcher(options, checkpoint, config, work);
  if (variant == AttentionVariant::kQcqa) {
    PRECIS_ASSIGN_OR_RETURN(const uint32_t budget, Budget(options, config, variant));
    PRECIS_RETURN_IF_ERROR(searcher.GroupByCapacity(budget, &out));
    target.num_kv_heads = LargestOf(target.groupings);
    return out;
  }
  PRECIS_ASSIGN_OR_RETURN(target.num_kv_heads, EvenKvHeads(options, config, variant));
  if (variant == AttentionVariant::kSimGqa) {
    PRECIS_RETURN_IF_ERROR(searcher.GroupSimilar(target.num_kv_heads, &target.groupings));
    return out;
  }
  out.fold = {variant, target.num_kv_heads};
  target.groupings = Groupings(config, out.fold);
  if (MayBeStoredGrouped(variant) && target.num_kv_heads < config.decoder.num_heads)
    target.projections = Projections::kFolded;
  return out;
}

}  // namespace precis
