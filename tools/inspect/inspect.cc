#include "tools/inspect/inspect.h"

#include <utility>

#include "common/math.h"
#include "engine/engine.h"
#include "engine/load/describe_model.h"
#include "engine/load/load_model.h"
#include "engine/load/load_types.h"
#include "engine/load/memory_errors.h"
#include "engine/load/open_model.h"
#include "engine/model/config/generation_defaults.h"
#include "engine/model/grouping/cached_norm.h"
#include "engine/model/grouping/head_folding.h"
#include "engine/model/weights.h"
#include "engine/text/tokenizer.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Reads every decoder K and V as loading would, so that what is wrong with them shows here.
Status CollectFolding(Checkpoint& checkpoint, const ModelConfig& config,
                      const ResolvedAttention& attention, std::vector<std::string>* folded) {
  const LayerGroupings groupings = Groupings(config, attention);
  for (uint32_t i = 0; i < config.decoder.layers; ++i) {
    for (const bool cross : {false, true}) {
      const std::string prefix = config.names.DecoderAttention(i, cross);
      PRECIS_RETURN_IF_ERROR(ReadCachedNorm(checkpoint, attention, prefix).status());
      const HeadGrouping& grouping = cross ? groupings.cross[i] : groupings.self[i];
      for (const char which : {'k', 'v'}) {
        PRECIS_ASSIGN_OR_RETURN(
            const GroupedProjection read,
            ReadGroupedProjection(checkpoint, config, attention, grouping, prefix, which));
        const std::string& what = read.what_was_folded;
        if (!what.empty()) folded->push_back(prefix + which + ": " + what);
      }
    }
  }
  return OkStatus();
}

// Reads and checks every tensor as loading would; the bytes that it would take.
StatusOr<uint64_t> CheckWeights(const OpenedModel& model, const WeightTypes& types) {
  PRECIS_ASSIGN_OR_RETURN(const auto backend, MakeSizingBackend());
  PRECIS_ASSIGN_OR_RETURN(const ModelWeights weights,
                          LoadModelWeights(*model.checkpoint, model.config, model.attention,
                                           model.embeddings, *backend, types,
                                           {.max_source_tokens = 1,
                                            .max_target_tokens = 1,
                                            .max_encode_rows = 1,
                                            .max_decode_rows = 1}));
  return weights.bytes;
}

// Copies of a tied embedding count once.
StatusOr<uint64_t> CountParameters(const OpenedModel& model) {
  const EmbeddingNames& used = model.embeddings;
  uint64_t parameters = 0;
  for (const std::string& name : model.checkpoint->names()) {
    const bool is_used = name == used.encoder || name == used.decoder || name == used.lm_head;
    if (model.config.names.IsEmbedding(name) && !is_used) continue;
    PRECIS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, model.checkpoint->Shape(name));
    uint64_t values = 1;
    for (const int64_t n : shape) values *= static_cast<uint64_t>(n);
    parameters += values;
  }
  return parameters;
}

}  // namespace

uint64_t Inspection::PageBytesFor(uint64_t documents, uint64_t source_tokens,
                                  uint64_t new_tokens) const {
  const uint64_t pages =
      CeilDiv(source_tokens, info.cross_slots) + CeilDiv(new_tokens, info.self_slots);
  return documents * pages * info.page_bytes;
}

namespace {

StatusOr<Inspection> InspectWithoutGuard(const std::string& model_dir, const std::string& dtype,
                                         const std::string& kv_dtype) {
  PRECIS_ASSIGN_OR_RETURN(const LoadTypes types, ResolveTypes(dtype, kv_dtype, DType::kBF16));
  PRECIS_ASSIGN_OR_RETURN(const OpenedModel model, OpenModel(model_dir, types.kv));
  Checkpoint& checkpoint = *model.checkpoint;
  Inspection out;
  out.info = DescribeModel(model_dir, model.config, model.attention, model.layout);
  PRECIS_RETURN_IF_ERROR(
      CollectFolding(checkpoint, model.config, model.attention, &out.info.folded));
  out.notes = model.config.token_notes;
  PRECIS_ASSIGN_OR_RETURN(out.info.defaults, LoadGenerationDefaults(model_dir));
  PRECIS_ASSIGN_OR_RETURN(out.parameters, CountParameters(model));
  PRECIS_ASSIGN_OR_RETURN(out.info.weight_bytes, CheckWeights(model, types.weights));
  PRECIS_ASSIGN_OR_RETURN(out.info.fingerprint, checkpoint.Fingerprint());
  auto tokenizer = Tokenizer::Load(model_dir, model.config.vocab_size);
  out.without_tokenizer = tokenizer.status();
  out.tokenizer = tokenizer.ok() ? fmt::format("{}, {} pieces", std::string((*tokenizer)->source()),
                                               (*tokenizer)->num_pieces())
                                 : "none that can be used";
  const EngineOptions served = WithinPositions(EngineOptions(), model.config);
  PRECIS_ASSIGN_OR_RETURN(out.effective,
                          ResolveOptions(out.info.defaults, {},
                                         {.max_new_tokens = served.max_new_tokens,
                                          .vocab_size = model.config.vocab_size,
                                          .max_positions = model.config.decoder.max_positions},
                                         /*seed_if_absent=*/0));
  return out;
}

}  // namespace

StatusOr<Inspection> Inspect(const std::string& model_dir, const std::string& dtype,
                             const std::string& kv_dtype) {
  return WithMemoryErrors([&] { return InspectWithoutGuard(model_dir, dtype, kv_dtype); });
}

}  // namespace precis
