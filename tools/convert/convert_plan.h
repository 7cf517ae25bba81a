// What a conversion will write, decided before anything is written: which tensors, from what.
// Owner: the conversion. Thread rule: values; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "engine/model/config/attention_variant.h"

namespace precis {

// How K and V of the decoder come into the result.
enum class Projections {
  kCopied,    // all heads, as they are stored
  kFolded,    // one head a group, as the loader would fold them
  kRepeated,  // folded, and then each query head has its group's head again
};

struct ConvertTarget {
  AttentionVariant variant = AttentionVariant::kMha;
  uint32_t num_kv_heads = 0;  // qcqa: the largest
  LayerGroupings groupings;
  Projections projections = Projections::kCopied;
  // Of wgqa and its kin: from a standard normal with this seed; without, all are those of the mean.
  std::optional<uint64_t> random_weights;
};

struct PlannedTensor {
  std::string name;
  std::string dtype_name;  // "F32"
  std::vector<int64_t> shape;
  uint64_t num_bytes = 0;
  // The values, the same at every call; empty where the stored bytes are copied.
  std::function<StatusOr<std::vector<float>>()> make;
};

struct PlannedFile {
  std::string name;
  std::vector<PlannedTensor> tensors;  // in the order of their bytes

  std::string Header() const;  // of safetensors, with its length before it
};

// One file for each of the source, with the same name, or that of safetensors. `fold` says how the source's K and V fold
// where they are not copied. The checkpoint and the config must outlive the plan. Errors name
// tensors that are missing or have another shape.
StatusOr<std::vector<PlannedFile>> PlanTensors(Checkpoint& checkpoint, const ModelConfig& config,
                                               const ResolvedAttention& fold,
                                               const ConvertTarget& target);

// model.safetensors.index.json of several files.
std::string IndexOf(const std::vector<PlannedFile>& files);

}  // namespace precis
