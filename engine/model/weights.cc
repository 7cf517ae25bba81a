#include "engine/model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "engine/model/channel_scaling.h"
#include "engine/model/grouping/bias_folding.h"
#include "engine/model/grouping/cached_norm.h"
#include "engine/model/grouping/head_folding.h"
#include "engine/model/position_bias.h"
#include "fmt/format.h"
#include "kernels/device_allocator.h"

namespace precis {
namespace {

// Vectors may read this many floats past the last value of a bias table.
constexpr size_t kBiasOverhang = 64;
// Tokens of a panel of the vocabulary: the scores of 32 rows are 512 KiB, a core's share of which
// lies in its L2. Panels are whole vectors and GEMM blocks wide.
constexpr size_t kPanelTokens = 4096;
constexpr size_t kPanelAlignment = 64;

GroupedHeads Flatten(const HeadGrouping& grouping) {
  GroupedHeads out;
  out.begin.push_back(0);
  for (const auto& group : grouping.groups) {
    out.heads.insert(out.heads.end(), group.begin(), group.end());
    out.begin.push_back(static_cast<uint32_t>(out.heads.size()));
  }
  return out;
}

std::optional<HeadShares> SharesOf(AttentionVariant variant) {
  switch (variant) {
    case AttentionVariant::kKdGqa:
      return HeadShares::kScaledNorm;
    case AttentionVariant::kDgqaDiff:
      return HeadShares::kNormDifference;
    case AttentionVariant::kDgqaEma:
      return HeadShares::kNormAverage;
    default:
      return std::nullopt;
  }
}

// A matrix and its bias, which is empty where there is none.
struct Affine {
  std::vector<float> w;
  std::vector<float> bias;
};

int64_t Inner(const StackShape& stack) { return int64_t{stack.num_heads} * stack.head_dim; }

class Loader {
 public:
  Loader(Checkpoint& checkpoint, const ModelConfig& config, const ResolvedAttention& attention,
         const EmbeddingNames& embeddings, Backend& backend, const WeightTypes& types,
         const WeightLimits& limits)
      : checkpoint_(checkpoint),
        config_(config),
        attention_(attention),
        embeddings_(embeddings),
        backend_(backend),
        allocator_(backend),
        limits_(limits) {
    out_.types = types;
    out_.head_shares = SharesOf(attention.variant);
    out_.subtracts_noise = attention.variant == AttentionVariant::kPgqa;
  }

  StatusOr<ModelWeights> Load() {
    const bool asks = out_.head_shares || out_.subtracts_noise;
    if (asks && backend_.grouping_ops() == nullptr) {
      return InvalidArgument(
          fmt::format("the device {} has no ops for the attention of this model; use --device cpu",
                      backend_.name()));
    }
    PRECIS_RETURN_IF_ERROR(LoadEmbeddings());
    const LayerGroupings groupings = Groupings(config_, attention_);
    for (uint32_t i = 0; i < config_.encoder.layers; ++i) {
      PRECIS_RETURN_IF_ERROR(LoadEncoderLayer(i));
    }
    for (uint32_t i = 0; i < config_.decoder.layers; ++i) {
      PRECIS_RETURN_IF_ERROR(LoadDecoderLayer(i, groupings.self[i], groupings.cross[i]));
    }
    PRECIS_ASSIGN_OR_RETURN(out_.encoder_ends, LoadEnds(config_.names.encoder, config_.encoder,
                                                        /*bidirectional=*/true, 1.0f));
    PRECIS_ASSIGN_OR_RETURN(out_.decoder_ends,
                            LoadEnds(config_.names.decoder, config_.decoder,
                                     /*bidirectional=*/false, config_.logits_scale));
    PRECIS_RETURN_IF_ERROR(Annotate(allocator_.status(), "the model's weights"));
    return std::move(out_);
  }

 private:
  StatusOr<std::vector<float>> Read(const std::string& name, int64_t rows, int64_t cols) {
    return checkpoint_.Read(name, {rows, cols});
  }

  // The bias of the tensor `weight`; empty where the family has none.
  StatusOr<std::vector<float>> ReadBias(std::string_view weight, int64_t size) {
    if (!config_.biases) return std::vector<float>();
    return checkpoint_.Read(BiasOf(weight), {size});
  }

  // [rows, cols] and [rows].
  StatusOr<Affine> ReadAffine(const std::string& name, int64_t rows, int64_t cols) {
    Affine out;
    PRECIS_ASSIGN_OR_RETURN(out.w, Read(name, rows, cols));
    PRECIS_ASSIGN_OR_RETURN(out.bias, ReadBias(name, rows));
    return out;
  }

  StatusOr<std::vector<float>> ReadGains(std::string_view name) {
    return checkpoint_.Read(name, {int64_t{config_.d_model}});
  }

  DeviceArray<float> OnDevice(std::span<const float> values) { return allocator_.Copy(values); }

  StatusOr<StoredNorm> Norm(std::string_view name, float scale = 1.0f) {
    StoredNorm out;
    PRECIS_ASSIGN_OR_RETURN(auto values, ReadGains(name));
    for (float& gain : values) gain *= scale;
    out.gain = OnDevice(values);
    if (config_.norm != NormKind::kLayer) return out;
    PRECIS_ASSIGN_OR_RETURN(values, ReadGains(BiasOf(name)));
    for (float& shift : values) shift *= scale;
    out.shift = OnDevice(values);
    return out;
  }

  StatusOr<DeviceArray<float>> CachedNorm(const std::string& attention) {
    PRECIS_ASSIGN_OR_RETURN(const auto values, ReadCachedNorm(checkpoint_, attention_, attention));
    return OnDevice(values);
  }

  // Packs one matrix made of `parts` below each other, each [?, k]. A part without a bias has zeros
  // where others have one.
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const std::string& label, std::vector<Affine> parts,
                                               size_t k, size_t max_rows) {
    const bool biased = std::ranges::any_of(parts, [](const Affine& p) { return !p.bias.empty(); });
    Affine whole;
    for (Affine& part : parts) {
      if (biased) part.bias.resize(part.w.size() / k);
      whole.bias.insert(whole.bias.end(), part.bias.begin(), part.bias.end());
      if (whole.w.empty()) {
        whole.w = std::move(part.w);
      } else {
        whole.w.insert(whole.w.end(), part.w.begin(), part.w.end());
      }
    }
    return Packed(label, whole.w, whole.bias, k, max_rows);
  }

  StatusOr<std::unique_ptr<PackedMatrix>> Packed(std::string_view label, std::span<const float> w,
                                                 std::span<const float> bias, size_t k,
                                                 size_t max_rows) {
    PRECIS_ASSIGN_OR_RETURN(auto packed, backend_.Pack({.label = label,
                                                        .w = w,
                                                        .n = w.size() / k,
                                                        .k = k,
                                                        .dtype = out_.types.projections,
                                                        .max_rows = max_rows,
                                                        .bias = bias}));
    out_.bytes += packed->bytes();
    return packed;
  }

  // What reads the residual stream: [rows, d_model] each.
  StatusOr<std::unique_ptr<PackedMatrix>> PackIn(const std::string& label,
                                                 std::vector<Affine> parts, size_t max_rows) {
    return Pack(label, std::move(parts), config_.d_model, max_rows);
  }

  // What writes to the residual stream: [d_model, ?].
  StatusOr<std::unique_ptr<PackedMatrix>> PackOut(const std::string& label, const Affine& matrix,
                                                  size_t max_rows) {
    return Packed(label, matrix.w, matrix.bias, matrix.w.size() / config_.d_model, max_rows);
  }

  // The matrix of the queries of an attention, scaled.
  StatusOr<Affine> ReadQ(const std::string& attention, const StackShape& stack) {
    PRECIS_ASSIGN_OR_RETURN(Affine q, ReadAffine(config_.names.Projection(attention, 'q'),
                                                 Inner(stack), config_.d_model));
    if (!config_.scales_attention) return q;
    const auto scale = static_cast<float>(1.0 / std::sqrt(double{1} * stack.head_dim));
    for (std::vector<float>* values : {&q.w, &q.bias}) {
      for (float& value : *values) value *= scale;
    }
    return q;
  }

  // The output matrix of an attention whose values lack `value_bias`, [KV heads * head_dim] or
  // empty. `groups`: the query heads of each KV head.
  StatusOr<std::unique_ptr<PackedMatrix>> LoadO(const std::string& attention,
                                                const StackShape& stack, const HeadGrouping& groups,
                                                std::span<const float> value_bias,
                                                size_t max_rows) {
    const std::string name = config_.names.Projection(attention, 'o');
    PRECIS_ASSIGN_OR_RETURN(Affine o, ReadAffine(name, config_.d_model, Inner(stack)));
    if (!value_bias.empty()) AddValueBias(o.w, groups, value_bias, stack.head_dim, o.bias);
    return PackOut(name, o, max_rows);
  }

  DeviceArray<std::byte> Embedding(std::span<const float> values) {
    DeviceArray<std::byte> out;
    if (out_.types.others == DType::kF32) {
      out = allocator_.Copy<std::byte>(std::as_bytes(values));
    } else {
      std::vector<uint16_t> bits(values.size());
      std::transform(values.begin(), values.end(), bits.begin(), F32ToBF16);
      out = allocator_.Copy<std::byte>(std::as_bytes(std::span(bits)));
    }
    out_.bytes += out.size();
    return out;
  }

  Status LoadEmbeddings() {
    const EmbeddingNames& names = embeddings_;
    const int64_t vocab = config_.vocab_size;
    PRECIS_ASSIGN_OR_RETURN(auto values, Read(names.encoder, vocab, config_.d_model));
    out_.embedding = Embedding(values);
    if (names.decoder != names.encoder) {
      PRECIS_ASSIGN_OR_RETURN(values, Read(names.decoder, vocab, config_.d_model));
      out_.decoder_embedding = Embedding(values);
    }
    if (names.lm_head != names.decoder) {
      PRECIS_ASSIGN_OR_RETURN(values, Read(names.lm_head, vocab, config_.d_model));
    }
    return PackVocabulary(values);
  }

  // Panels of one size but the last, so that they share their GEMM primitives.
  Status PackVocabulary(std::span<const float> w) {
    const size_t d = config_.d_model;
    std::vector<float> bias;
    if (config_.logits_bias && checkpoint_.Has(config_.names.logits_bias)) {
      PRECIS_ASSIGN_OR_RETURN(
          bias, checkpoint_.Read(config_.names.logits_bias, {1, int64_t{config_.vocab_size}}));
    }
    const size_t panels = (config_.vocab_size + kPanelTokens - 1) / kPanelTokens;
    const size_t even = (config_.vocab_size + panels - 1) / panels;
    const size_t tokens = (even + kPanelAlignment - 1) / kPanelAlignment * kPanelAlignment;
    for (size_t first = 0; first < config_.vocab_size; first += tokens) {
      const size_t count = std::min(tokens, config_.vocab_size - first);
      PRECIS_ASSIGN_OR_RETURN(
          auto packed,
          Packed("lm_head", w.subspan(first * d, count * d),
                 bias.empty() ? std::span<const float>() : std::span(bias).subspan(first, count), d,
                 limits_.max_decode_rows));
      out_.lm_head.push_back({static_cast<int32_t>(first), std::move(packed)});
    }
    return OkStatus();
  }

  // `incoming`: the name of the norm whose rows come in.
  StatusOr<FeedForward> LoadFeedForward(const FeedForwardNames& of, std::string_view incoming,
                                        uint32_t layer, const StackShape& stack, size_t max_rows) {
    FeedForward out;
    const TensorNames& names = config_.names;
    PRECIS_ASSIGN_OR_RETURN(out.norm, Norm(OfLayer(of.norm, layer)));
    const std::string p = OfLayer(of.prefix, layer);
    std::vector<Affine> parts;
    for (const std::string_view name :
         config_.gated ? std::vector{names.gate, names.up} : std::vector{names.in}) {
      PRECIS_ASSIGN_OR_RETURN(auto part,
                              ReadAffine(p + std::string(name), stack.d_ff, config_.d_model));
      parts.push_back(std::move(part));
    }
    const std::string wo_name = p + std::string(names.out);
    PRECIS_ASSIGN_OR_RETURN(Affine wo, ReadAffine(wo_name, config_.d_model, stack.d_ff));
    // A few hidden channels are many times the rest, which a row's one scale would round
    // away (docs/performance/int8.md).
    if (out_.types.projections == DType::kI8 && PassesFactors(config_.activation, config_.gated)) {
      PRECIS_ASSIGN_OR_RETURN(const auto gains, ReadGains(OfLayer(incoming, layer)));
      HiddenChannels channels{
          .norm = gains, .inputs = {}, .output = wo.w, .bias = parts.back().bias};
      for (Affine& part : parts) channels.inputs.emplace_back(part.w);
      EqualizeHiddenChannels(channels);
    }
    PRECIS_ASSIGN_OR_RETURN(out.wi, PackIn(p + "wi", std::move(parts), max_rows));
    PRECIS_ASSIGN_OR_RETURN(out.wo, PackOut(wo_name, wo, max_rows));
    return out;
  }

  Status LoadEncoderLayer(uint32_t i) {
    const StackNames& names = config_.names.encoder;
    const StackShape& stack = config_.encoder;
    const std::string a = OfLayer(names.self.prefix, i);
    const size_t rows = limits_.max_encode_rows;
    EncoderLayer layer;
    PRECIS_ASSIGN_OR_RETURN(layer.norm, Norm(OfLayer(names.self.norm, i)));
    std::vector<Affine> parts(3);
    PRECIS_ASSIGN_OR_RETURN(parts[0], ReadQ(a, stack));
    for (const size_t part : {1, 2}) {
      PRECIS_ASSIGN_OR_RETURN(
          parts[part], ReadAffine(config_.names.Projection(a, part == 1 ? 'k' : 'v'), Inner(stack),
                                  config_.d_model));
    }
    parts[1].bias.clear();
    const std::vector<float> value_bias = std::exchange(parts[2].bias, {});
    PRECIS_ASSIGN_OR_RETURN(layer.qkv, PackIn(a + "qkv", std::move(parts), rows));
    PRECIS_ASSIGN_OR_RETURN(
        layer.o,
        LoadO(a, stack, NeighbouringHeads(stack.num_heads, stack.num_heads), value_bias, rows));
    const std::string_view incoming = IncomingNorm(names.self, names.feed_forward);
    PRECIS_ASSIGN_OR_RETURN(layer.ffn,
                            LoadFeedForward(names.feed_forward, incoming, i, stack, rows));
    out_.encoder.push_back(std::move(layer));
    return OkStatus();
  }

  // Of the norm that makes the rows of a feed-forward behind `attention`.
  std::string_view IncomingNorm(const AttentionNames& attention,
                                const FeedForwardNames& feed_forward) const {
    return config_.norm_place == NormPlace::kBefore ? feed_forward.norm : attention.norm;
  }

  // K then V of one decoder attention, grouped and without biases; that of V goes to `value_bias`.
  StatusOr<std::vector<Affine>> GroupedKv(const std::string& prefix, const HeadGrouping& grouping,
                                          std::vector<float>* value_bias) {
    std::vector<Affine> parts;
    for (const char which : {'k', 'v'}) {
      PRECIS_ASSIGN_OR_RETURN(
          GroupedProjection projection,
          ReadGroupedProjection(checkpoint_, config_, attention_, grouping, prefix, which));
      const std::string& what = projection.what_was_folded;
      if (!what.empty() && std::ranges::find(out_.folded, what) == out_.folded.end()) {
        out_.folded.push_back(what);
      }
      parts.push_back({std::move(projection.weight), {}});
      if (which == 'v') *value_bias = std::move(projection.bias);
    }
    return parts;
  }

  Status LoadDecoderLayer(uint32_t i, const HeadGrouping& self, const HeadGrouping& cross) {
    const TensorNames& names = config_.names;
    const size_t rows = limits_.max_decode_rows;
    DecoderLayer layer;
    layer.self_groups = Flatten(self);
    layer.cross_groups = Flatten(cross);

    const StackShape& stack = config_.decoder;
    std::string a = names.DecoderAttention(i, /*cross=*/false);
    std::vector<float> value_bias;
    PRECIS_ASSIGN_OR_RETURN(layer.self_norm, Norm(OfLayer(names.decoder.self.norm, i)));
    PRECIS_ASSIGN_OR_RETURN(auto q, ReadQ(a, stack));
    PRECIS_ASSIGN_OR_RETURN(auto parts, GroupedKv(a, self, &value_bias));
    parts.insert(parts.begin(), std::move(q));
    PRECIS_ASSIGN_OR_RETURN(layer.self_qkv, PackIn(a + "qkv", std::move(parts), rows));
    PRECIS_ASSIGN_OR_RETURN(layer.self_o, LoadO(a, stack, self, value_bias, rows));
    PRECIS_ASSIGN_OR_RETURN(layer.self_cached_norm, CachedNorm(a));

    a = names.DecoderAttention(i, /*cross=*/true);
    PRECIS_ASSIGN_OR_RETURN(layer.cross_norm, Norm(OfLayer(names.decoder.cross.norm, i)));
    PRECIS_ASSIGN_OR_RETURN(q, ReadQ(a, stack));
    parts.clear();
    parts.push_back(std::move(q));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_q, PackIn(a + "q", std::move(parts), rows));
    PRECIS_ASSIGN_OR_RETURN(parts, GroupedKv(a, cross, &value_bias));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_kv,
                            PackIn(a + "kv", std::move(parts), limits_.max_encode_rows));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_o, LoadO(a, stack, cross, value_bias, rows));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_cached_norm, CachedNorm(a));
    const std::string_view incoming = IncomingNorm(names.decoder.cross, names.decoder.feed_forward);
    PRECIS_ASSIGN_OR_RETURN(layer.ffn,
                            LoadFeedForward(names.decoder.feed_forward, incoming, i, stack, rows));
    out_.decoder.push_back(std::move(layer));
    return OkStatus();
  }

  StatusOr<StackEnds> LoadEnds(const StackNames& names, const StackShape& stack, bool bidirectional,
                               float scale) {
    StackEnds out;
    if (config_.positions) {
      PRECIS_ASSIGN_OR_RETURN(out.positions, Positions(names.positions, stack));
    }
    if (config_.embedding_norm) {
      PRECIS_ASSIGN_OR_RETURN(out.embedding_norm, Norm(names.embedding_norm));
    }
    if (config_.position_bias) {
      PRECIS_ASSIGN_OR_RETURN(out.bias, Bias(names, stack, bidirectional));
    }
    if (config_.final_norm) {
      PRECIS_ASSIGN_OR_RETURN(out.final_norm, Norm(names.final_norm, scale));
    }
    PRECIS_CHECK(config_.final_norm || scale == 1.0f);
    return out;
  }

  // The rows before position 0 are left out.
  StatusOr<DeviceArray<float>> Positions(std::string_view name, const StackShape& stack) {
    const int64_t offset = config_.positions->offset;
    auto read =
        checkpoint_.Read(name, {offset + int64_t{stack.max_positions}, int64_t{config_.d_model}});
    if (!read.ok()) {
      return CopyOf(read.status(), read.status().code(),
                    fmt::format("{} ({} positions of {}, after {} rows of none)",
                                std::string(read.status().message()), stack.max_positions,
                                config_.file, offset));
    }
    const std::vector<float>& table = *read;
    auto out = OnDevice(std::span(table).subspan(static_cast<size_t>(offset) * config_.d_model));
    out_.bytes += out.size() * sizeof(float);
    return out;
  }

  StatusOr<StackBias> Bias(const StackNames& names, const StackShape& stack, bool bidirectional) {
    const RelativeBias& of = *config_.position_bias;
    const uint32_t longest = bidirectional ? limits_.max_source_tokens : limits_.max_target_tokens;
    StackBias out;
    for (uint32_t layer = 0; layer < (of.per_layer ? stack.layers : 1); ++layer) {
      PRECIS_ASSIGN_OR_RETURN(
          auto table, Read(OfLayer(names.position_bias, layer), of.num_buckets, stack.num_heads));
      ExpandedBias bias = ExpandBias(table, stack.num_heads, bidirectional, of.num_buckets,
                                     of.max_distance, longest - 1, bidirectional ? longest - 1 : 0);
      bias.values.resize(bias.values.size() + kBiasOverhang);
      out.values.push_back(OnDevice(bias.values));
      out.stride = bias.stride;
      out.zero = bias.zero;
    }
    return out;
  }

  Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const ResolvedAttention& attention_;
  const EmbeddingNames& embeddings_;
  Backend& backend_;
  DeviceAllocator allocator_;
  const WeightLimits limits_;
  ModelWeights out_;
};

}  // namespace

StatusOr<ModelWeights> LoadModelWeights(Checkpoint& checkpoint, const ModelConfig& config,
                                        const ResolvedAttention& attention,
                                        const EmbeddingNames& embeddings, Backend& backend,
                                        const WeightTypes& types, const WeightLimits& limits) {
  return Loader(checkpoint, config, attention, embeddings, backend, types, limits).Load();
}

}  // namespace precis
