#include "engine/load/open_model.h"

#include "engine/load/describe_model.h"
#include "engine/model/checkpoint/directory_kind.h"
#include "engine/model/config/foreign_tensors.h"
#include "engine/model/config/quantized_tensors.h"

namespace precis {
namespace {

// Files of the model without its head leave the prefix out.
void AddBasePrefix(const TensorNames& names, Checkpoint& checkpoint) {
  const std::string_view prefix = names.base_prefix;
  if (prefix.empty()) return;
  checkpoint.Rename([&](std::string_view name) {
    const bool whole =
        name.starts_with(prefix) || name == names.embedding.lm_head || name == names.logits_bias;
    return whole ? std::string(name) : std::string(prefix).append(name);
  });
}

}  // namespace

StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& dir,
                                                     const ModelConfig& config) {
  PRECIS_ASSIGN_OR_RETURN(auto checkpoint, Checkpoint::Open(dir));
  PRECIS_RETURN_IF_ERROR(RefuseOtherFamilies(*checkpoint, config));
  AddBasePrefix(config.names, *checkpoint);
  return checkpoint;
}

StatusOr<OpenedModel> OpenModel(const std::string& dir, DType kv) {
  PRECIS_RETURN_IF_ERROR(CheckModelDirectory(dir));
  OpenedModel out;
  PRECIS_ASSIGN_OR_RETURN(out.config, LoadModelConfig(dir));
  PRECIS_ASSIGN_OR_RETURN(out.checkpoint, OpenCheckpoint(dir, out.config));
  PRECIS_RETURN_IF_ERROR(RefuseQuantized(*out.checkpoint, out.config));
  PRECIS_ASSIGN_OR_RETURN(out.attention, ResolveAttention(out.config, *out.checkpoint));
  PRECIS_ASSIGN_OR_RETURN(out.embeddings,
                          ResolveEmbeddings(*out.checkpoint, out.config.names.embedding));
  const LayerGroupings groupings = Groupings(out.config, out.attention);
  out.layout = MakeKvLayout(KvHeadCounts(groupings.self), KvHeadCounts(groupings.cross),
                            out.config.decoder.head_dim, kv, AssignsHeads(out.attention.variant));
  return out;
}

}  // namespace precis
