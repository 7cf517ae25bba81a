#include "engine/model/weights.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/model/channel_scaling.h"
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
        limits_(limits),
        inner_(int64_t{config.num_heads} * config.head_dim) {
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
    for (uint32_t i = 0; i < config_.num_encoder_layers; ++i) {
      PRECIS_RETURN_IF_ERROR(LoadEncoderLayer(i));
    }
    for (uint32_t i = 0; i < config_.num_decoder_layers; ++i) {
      PRECIS_RETURN_IF_ERROR(LoadDecoderLayer(i, groupings.self[i], groupings.cross[i]));
    }
    PRECIS_ASSIGN_OR_RETURN(out_.encoder_final_norm, Norm(config_.names.encoder.final_norm));
    PRECIS_ASSIGN_OR_RETURN(auto final_norm, ReadNorm(config_.names.decoder.final_norm));
    for (float& gain : final_norm) gain *= config_.logits_scale;
    out_.decoder_final_norm = OnDevice(final_norm);
    PRECIS_ASSIGN_OR_RETURN(out_.encoder_bias,
                            Bias(config_.names.encoder, config_.num_encoder_layers, true));
    PRECIS_ASSIGN_OR_RETURN(out_.decoder_bias,
                            Bias(config_.names.decoder, config_.num_decoder_layers, false));
    PRECIS_RETURN_IF_ERROR(Annotate(allocator_.status(), "the model's weights"));
    return std::move(out_);
  }

 private:
  StatusOr<std::vector<float>> Read(const std::string& name, int64_t rows, int64_t cols) {
    return checkpoint_.Read(name, {rows, cols});
  }

  StatusOr<std::vector<float>> ReadNorm(std::string_view name) {
    return checkpoint_.Read(name, {int64_t{config_.d_model}});
  }

  DeviceArray<float> OnDevice(std::span<const float> values) { return allocator_.Copy(values); }

  StatusOr<DeviceArray<float>> Norm(std::string_view name) {
    PRECIS_ASSIGN_OR_RETURN(const auto values, ReadNorm(name));
    return OnDevice(values);
  }

  StatusOr<DeviceArray<float>> CachedNorm(const std::string& attention) {
    PRECIS_ASSIGN_OR_RETURN(const auto values, ReadCachedNorm(checkpoint_, attention_, attention));
    return OnDevice(values);
  }

  // Packs one matrix made of `parts` below each other, each [?, k].
  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const std::string& label,
                                               std::vector<std::vector<float>> parts, size_t k,
                                               size_t max_rows) {
    std::vector<float> whole = std::move(parts[0]);
    for (size_t i = 1; i < parts.size(); ++i) {
      whole.insert(whole.end(), parts[i].begin(), parts[i].end());
    }
    PRECIS_ASSIGN_OR_RETURN(auto packed, backend_.Pack(label, whole, whole.size() / k, k,
                                                       out_.types.projections, max_rows));
    out_.bytes += packed->bytes();
    return packed;
  }

  // What reads the residual stream: [rows, d_model] each.
  StatusOr<std::unique_ptr<PackedMatrix>> PackIn(const std::string& label,
                                                 std::vector<std::vector<float>> parts,
                                                 size_t max_rows) {
    return Pack(label, std::move(parts), config_.d_model, max_rows);
  }

  // What writes to the residual stream: values of [d_model, ?].
  StatusOr<std::unique_ptr<PackedMatrix>> PackOut(const std::string& label,
                                                  std::vector<float> values, size_t max_rows) {
    const size_t k = values.size() / config_.d_model;
    std::vector<std::vector<float>> parts;
    parts.push_back(std::move(values));
    return Pack(label, std::move(parts), k, max_rows);
  }

  // The output matrix of an attention.
  StatusOr<std::unique_ptr<PackedMatrix>> LoadO(const std::string& attention, size_t max_rows) {
    const std::string name = config_.names.Projection(attention, 'o');
    PRECIS_ASSIGN_OR_RETURN(auto values, Read(name, config_.d_model, inner_));
    return PackOut(name, std::move(values), max_rows);
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
    const size_t panels = (config_.vocab_size + kPanelTokens - 1) / kPanelTokens;
    const size_t even = (config_.vocab_size + panels - 1) / panels;
    const size_t tokens = (even + kPanelAlignment - 1) / kPanelAlignment * kPanelAlignment;
    for (size_t first = 0; first < config_.vocab_size; first += tokens) {
      const size_t count = std::min(tokens, config_.vocab_size - first);
      PRECIS_ASSIGN_OR_RETURN(auto packed,
                              backend_.Pack("lm_head", w.subspan(first * d, count * d), count, d,
                                            out_.types.projections, limits_.max_decode_rows));
      out_.bytes += packed->bytes();
      out_.lm_head.push_back({static_cast<int32_t>(first), std::move(packed)});
    }
    return OkStatus();
  }

  StatusOr<FeedForward> LoadFeedForward(const FeedForwardNames& of, uint32_t layer,
                                        size_t max_rows) {
    FeedForward out;
    const TensorNames& names = config_.names;
    PRECIS_ASSIGN_OR_RETURN(auto norm, ReadNorm(OfLayer(of.norm, layer)));
    const std::string p = OfLayer(of.prefix, layer);
    std::vector<std::vector<float>> parts;
    for (const std::string_view name :
         config_.gated ? std::vector{names.gate, names.up} : std::vector{names.in}) {
      PRECIS_ASSIGN_OR_RETURN(auto values,
                              Read(p + std::string(name), config_.d_ff, config_.d_model));
      parts.push_back(std::move(values));
    }
    const std::string wo_name = p + std::string(names.out);
    PRECIS_ASSIGN_OR_RETURN(auto wo, Read(wo_name, config_.d_model, config_.d_ff));
    // A few hidden channels are many times the rest, which a row's one scale would round
    // away (docs/performance/int8.md).
    if (out_.types.projections == DType::kI8) {
      EqualizeHiddenChannels({norm, {parts.begin(), parts.end()}, wo});
    }
    out.norm = OnDevice(norm);
    PRECIS_ASSIGN_OR_RETURN(out.wi, PackIn(p + "wi", std::move(parts), max_rows));
    PRECIS_ASSIGN_OR_RETURN(out.wo, PackOut(wo_name, std::move(wo), max_rows));
    return out;
  }

  Status LoadEncoderLayer(uint32_t i) {
    const StackNames& names = config_.names.encoder;
    const std::string a = OfLayer(names.self.prefix, i);
    const size_t rows = limits_.max_encode_rows;
    EncoderLayer layer;
    PRECIS_ASSIGN_OR_RETURN(layer.norm, Norm(OfLayer(names.self.norm, i)));
    std::vector<std::vector<float>> parts;
    for (const char which : {'q', 'k', 'v'}) {
      PRECIS_ASSIGN_OR_RETURN(auto values,
                              Read(config_.names.Projection(a, which), inner_, config_.d_model));
      parts.push_back(std::move(values));
    }
    PRECIS_ASSIGN_OR_RETURN(layer.qkv, PackIn(a + "qkv", std::move(parts), rows));
    PRECIS_ASSIGN_OR_RETURN(layer.o, LoadO(a, rows));
    PRECIS_ASSIGN_OR_RETURN(layer.ffn, LoadFeedForward(names.feed_forward, i, rows));
    out_.encoder.push_back(std::move(layer));
    return OkStatus();
  }

  // K then V of one decoder attention, grouped.
  StatusOr<std::vector<std::vector<float>>> GroupedKv(const std::string& prefix,
                                                      const HeadGrouping& grouping) {
    std::vector<std::vector<float>> parts;
    for (const char which : {'k', 'v'}) {
      std::string what;
      PRECIS_ASSIGN_OR_RETURN(auto values, ReadGroupedProjection(checkpoint_, config_, attention_,
                                                                 grouping, prefix, which, &what));
      if (!what.empty() &&
          std::find(out_.folded.begin(), out_.folded.end(), what) == out_.folded.end()) {
        out_.folded.push_back(what);
      }
      parts.push_back(std::move(values));
    }
    return parts;
  }

  Status LoadDecoderLayer(uint32_t i, const HeadGrouping& self, const HeadGrouping& cross) {
    const TensorNames& names = config_.names;
    const size_t rows = limits_.max_decode_rows;
    DecoderLayer layer;
    layer.self_groups = Flatten(self);
    layer.cross_groups = Flatten(cross);

    std::string a = names.DecoderAttention(i, /*cross=*/false);
    PRECIS_ASSIGN_OR_RETURN(layer.self_norm, Norm(OfLayer(names.decoder.self.norm, i)));
    PRECIS_ASSIGN_OR_RETURN(auto q, Read(names.Projection(a, 'q'), inner_, config_.d_model));
    PRECIS_ASSIGN_OR_RETURN(auto parts, GroupedKv(a, self));
    parts.insert(parts.begin(), std::move(q));
    PRECIS_ASSIGN_OR_RETURN(layer.self_qkv, PackIn(a + "qkv", std::move(parts), rows));
    PRECIS_ASSIGN_OR_RETURN(layer.self_o, LoadO(a, rows));
    PRECIS_ASSIGN_OR_RETURN(layer.self_cached_norm, CachedNorm(a));

    a = names.DecoderAttention(i, /*cross=*/true);
    PRECIS_ASSIGN_OR_RETURN(layer.cross_norm, Norm(OfLayer(names.decoder.cross.norm, i)));
    PRECIS_ASSIGN_OR_RETURN(q, Read(names.Projection(a, 'q'), inner_, config_.d_model));
    parts.clear();
    parts.push_back(std::move(q));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_q, PackIn(a + "q", std::move(parts), rows));
    PRECIS_ASSIGN_OR_RETURN(parts, GroupedKv(a, cross));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_kv,
                            PackIn(a + "kv", std::move(parts), limits_.max_encode_rows));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_o, LoadO(a, rows));
    PRECIS_ASSIGN_OR_RETURN(layer.cross_cached_norm, CachedNorm(a));
    PRECIS_ASSIGN_OR_RETURN(layer.ffn, LoadFeedForward(names.decoder.feed_forward, i, rows));
    out_.decoder.push_back(std::move(layer));
    return OkStatus();
  }

  StatusOr<StackBias> Bias(const StackNames& names, uint32_t layers, bool bidirectional) {
    const RelativeBias& of = config_.position_bias;
    const uint32_t longest = bidirectional ? limits_.max_source_tokens : limits_.max_target_tokens;
    StackBias out;
    for (uint32_t layer = 0; layer < (of.per_layer ? layers : 1); ++layer) {
      PRECIS_ASSIGN_OR_RETURN(
          auto table, Read(OfLayer(names.position_bias, layer), of.num_buckets, config_.num_heads));
      ExpandedBias bias = ExpandBias(table, config_.num_heads, bidirectional, of.num_buckets,
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
  const int64_t inner_;  // num_heads * head_dim
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
