// config.json of a checkpoint: the architecture that its family describes (families/family.h), and
// what it says of grouped heads. Read once, every number checked, errors name file and key.
// What only the tensors can tell (attention_variant.h) is left open here.
// Thread rule: values, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/model/families/architecture.h"

namespace precis {

enum class AttentionVariant {
  kMha,
  kGqa,
  kMqa,
  kWgqa,      // one learned number a head; with one KV head: WMQA
  kColWgqa,   // one a head and output dimension
  kRowWgqa,   // one a head and input dimension
  kSimGqa,    // groups follow head_order
  kQcqa,      // groups are head_groups
  kKdGqa,     // query heads are assigned to KV heads by the norms of the keys so far
  kDgqaDiff,  // the same by their difference to a cached norm
  kDgqaEma,   // the same by their average with it
  kPgqa,      // noise is subtracted from what attention gives
};

// Which query heads share one KV head: groups[g] lists the heads of KV head g, in folding order.
// A partition of 0 .. num_heads-1 without empty groups.
struct HeadGrouping {
  std::vector<std::vector<uint32_t>> groups;
};

// One a decoder layer.
struct LayerGroupings {
  std::vector<HeadGrouping> self;
  std::vector<HeadGrouping> cross;
};

struct ModelConfig : Architecture {
  std::string file;                      // path of config.json, for messages
  uint32_t n_positions = 0;              // 0: the file has none
  std::vector<std::string> token_notes;  // for the log, of its special tokens (token_ids.h)
  // What quantization_config says; absent where it is not there.
  std::optional<std::string> quantization;

  // As the file says; absent where it does not. ResolveAttention (attention_variant.h) decides.
  std::optional<AttentionVariant> attention_variant;
  std::optional<uint32_t> num_key_value_heads;
  // From head_order (simgqa) or head_groups (qcqa), checked to be partitions; else empty.
  LayerGroupings listed_groups;
};

StatusOr<ModelConfig> LoadModelConfig(const std::string& dir);

}  // namespace precis
