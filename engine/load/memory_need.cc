#include "engine/load/memory_need.h"

#include <algorithm>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "fmt/format.h"

namespace precis {
namespace {

// A pool of fewer pages serves nothing.
constexpr uint64_t kLeastPages = 2;
// Weights are packed into mappings of this size (kernels/cpu/gemm/weight_memory.cc).
constexpr uint64_t kWeightChunk = 66ull << 20;
constexpr uint64_t kStack = 8ull << 20;
// Of a sequence that may be accepted: its history and its drafts.
constexpr uint64_t kSequence = 900;
// Threads beside those that compute: the loader's, the step's, those that tokenize and watch, and
// gRPC's, of which a busy server has a dozen.
constexpr uint64_t kOtherThreads = 16;

uint64_t SaturatingSum(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<uint64_t>::max() : sum;
}

// As loading stores what is no embedding, scales aside.
DType StoredAs(const std::string& tensor, const TensorNames& names, const WeightTypes& types) {
  return names.IsProjection(tensor) ? types.projections : DType::kF32;
}

uint64_t Values(const Checkpoint& checkpoint, const std::string& name) {
  const auto shape = checkpoint.Shape(name);
  if (!shape.ok()) return 0;
  uint64_t values = 1;
  for (const int64_t n : *shape) values *= static_cast<uint64_t>(n);
  return values;
}

// Values of decoder keys' and values' matrices that folding leaves out.
uint64_t FoldedAway(const OpenedModel& model) {
  const LayerGroupings groupings = Groupings(model.config, model.attention);
  const TensorNames& names = model.config.names;
  uint64_t values = 0;
  for (uint32_t i = 0; i < model.config.decoder.layers; ++i) {
    for (const bool cross : {false, true}) {
      const HeadGrouping& grouping = cross ? groupings.cross[i] : groupings.self[i];
      const uint64_t packed =
          uint64_t{grouping.groups.size()} * model.config.decoder.head_dim * model.config.d_model;
      for (const char which : {'k', 'v'}) {
        const uint64_t stored =
            Values(*model.checkpoint, names.Projection(names.DecoderAttention(i, cross), which));
        if (stored > packed) values += stored - packed;
      }
    }
  }
  return values;
}

}  // namespace

uint64_t MemoryNeed::Sum() const {
  return SaturatingSum(SaturatingSum(weights, pool), SaturatingSum(workspaces, reserved));
}

uint64_t PackedWeightBytes(const OpenedModel& model, const WeightTypes& types) {
  const Checkpoint& checkpoint = *model.checkpoint;
  uint64_t bytes = 0;
  for (const std::string& name : checkpoint.names()) {
    if (model.config.names.IsEmbedding(name)) continue;
    bytes += Values(checkpoint, name) * ElementBytes(StoredAs(name, model.config.names, types));
  }
  const EmbeddingNames& used = model.embeddings;
  const uint64_t embeddings = used.encoder == used.decoder ? 1 : 2;
  bytes += uint64_t{model.config.vocab_size} * model.config.d_model *
           (embeddings * ElementBytes(types.others) + ElementBytes(types.projections));
  const uint64_t folded = FoldedAway(model) * ElementBytes(types.projections);
  return bytes > folded ? bytes - folded : 0;
}

uint64_t WorkspaceBytes(const ModelConfig& c, const EngineOptions& o, DType activations,
                        uint64_t panel_tokens) {
  const uint64_t element = ElementBytes(activations);
  const auto inner = [](const StackShape& s) { return uint64_t{s.num_heads} * s.head_dim; };
  const uint64_t document =
      (c.d_model + 3 * inner(c.encoder)) * sizeof(float) + c.d_model * element;
  // Of a row of a slice or of a step.
  const auto row = [&](const StackShape& s) {
    const uint64_t widest = std::max<uint64_t>(3 * inner(s), (c.gated ? 2 : 1) * uint64_t{s.d_ff});
    return widest * sizeof(float) + (c.d_model + inner(s) + s.d_ff) * element;
  };
  const uint64_t packed =
      element == ElementBytes(DType::kBF16)
          ? EncoderPackedBytes(o.max_source_tokens, c.encoder.num_heads, c.encoder.head_dim)
          : 0;
  const uint64_t scores = panel_tokens + uint64_t{c.vocab_size};
  const uint64_t step = row(c.decoder) + (c.d_model + scores) * sizeof(float);
  return 2 * (o.max_source_tokens * document + packed) + o.encode_slice_rows * row(c.encoder) +
         o.max_batch * step;
}

uint64_t PositionBiasBytes(const ModelConfig& c, const EngineOptions& o) {
  if (!c.position_bias) return 0;
  const auto tables = [&](const StackShape& s) {
    return uint64_t{s.num_heads} * (c.position_bias->per_layer ? s.layers : 1);
  };
  return sizeof(float) *
         (tables(c.encoder) * 2 * o.max_source_tokens + tables(c.decoder) * o.max_new_tokens);
}

Status CheckSizes(const OpenedModel& model) {
  const ModelConfig& c = model.config;
  const int64_t inner = int64_t{c.encoder.num_heads} * c.encoder.head_dim;
  const StackNames& encoder = c.names.encoder;
  const std::tuple<std::string, int64_t, int64_t> expected[] = {
      {model.embeddings.encoder, c.vocab_size, c.d_model},
      {c.names.Projection(OfLayer(encoder.self.prefix, 0), 'q'), inner, c.d_model},
      {OfLayer(encoder.feed_forward.prefix, 0).append(c.gated ? c.names.gate : c.names.in),
       c.encoder.d_ff, c.d_model}};
  for (const auto& [name, rows, cols] : expected) {
    PRECIS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, model.checkpoint->Shape(name));
    const std::vector<int64_t> wanted = {rows, cols};
    if (shape == wanted) continue;
    return InvalidArgument(fmt::format("{}: shape {} in the file, {} expected",
                                       model.checkpoint->Describe(name), ShapeText(shape),
                                       ShapeText(wanted)));
  }
  return OkStatus();
}

MemoryNeed NeedOf(const OpenedModel& model, const WeightTypes& types, const EngineOptions& options,
                  const Backend& backend) {
  MemoryNeed need;
  need.weights = PackedWeightBytes(model, types);
  need.pool = std::max(options.pool_bytes, kLeastPages * model.layout.page_bytes);
  need.workspaces = WorkspaceBytes(model.config, options, backend.activation_dtype(types.others),
                                   /*panel_tokens=*/0) +
                    PositionBiasBytes(model.config, options) + options.max_sequences * kSequence;
  need.reserved = kWeightChunk + kStack * (backend.num_threads() + kOtherThreads);
  return need;
}

Status CheckMemory(const MemoryNeed& need, const MemoryLimit& limit) {
  MemoryNeed counted = need;
  if (!limit.is_address_space) counted.reserved = 0;
  if (limit.bytes == 0 || counted.Sum() <= limit.left()) return OkStatus();
  std::string text = fmt::format("not enough memory: {} {}", limit.whose, HumanBytes(limit.bytes));
  if (limit.used > 0) text += fmt::format(", of which {} are in use", HumanBytes(limit.used));
  text += fmt::format(
      "; {} {}are needed: {} for weights (--dtype), {} for the page pool (--pool-bytes), {} for "
      "workspaces (--max-source-tokens, --max-batch, --max-sequences)",
      HumanBytes(counted.Sum()), limit.used > 0 ? "more " : "", HumanBytes(need.weights),
      HumanBytes(need.pool), HumanBytes(need.workspaces));
  if (counted.reserved > 0) {
    text += fmt::format(", {} for stacks and reserves (--threads)", HumanBytes(counted.reserved));
  }
  return {absl::StatusCode::kResourceExhausted, text};
}

}  // namespace precis
