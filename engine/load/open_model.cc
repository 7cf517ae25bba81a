#include "engine/load/open_model.h"

#include "engine/load/describe_model.h"
#include "engine/model/checkpoint/directory_kind.h"
#include "engine/model/config/quantized_tensors.h"

namespace precis {

StatusOr<OpenedModel> OpenModel(const std::string& dir, DType kv) {
  PRECIS_RETURN_IF_ERROR(CheckModelDirectory(dir));
  OpenedModel out;
  PRECIS_ASSIGN_OR_RETURN(out.config, LoadModelConfig(dir));
  PRECIS_ASSIGN_OR_RETURN(out.checkpoint, Checkpoint::Open(dir));
  PRECIS_RETURN_IF_ERROR(RefuseQuantized(*out.checkpoint, out.config));
  PRECIS_ASSIGN_OR_RETURN(out.attention, ResolveAttention(out.config, *out.checkpoint));
  PRECIS_ASSIGN_OR_RETURN(out.embeddings,
                          ResolveEmbeddings(*out.checkpoint, out.config.names.embedding));
  const LayerGroupings groupings = Groupings(out.config, out.attention);
  out.layout = MakeKvLayout(KvHeadCounts(groupings.self), KvHeadCounts(groupings.cross),
                            out.config.head_dim, kv, AssignsHeads(out.attention.variant));
  return out;
}

}  // namespace precis
