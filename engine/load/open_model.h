// What a directory says of a model before any weight is read: shared by the loader, inspect and
// benchmarks.
//
// Called while loading. Thread rule: functions, no state.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/config/embedding_ties.h"
#include "engine/model/config/model_config.h"
#include "engine/model/kv_layout.h"

namespace precis {

struct OpenedModel {
  ModelConfig config;
  std::unique_ptr<Checkpoint> checkpoint;
  ResolvedAttention attention;
  EmbeddingNames embeddings;
  KvLayout layout;
};

// The tensors of `dir` under the names that the family of `config` has for them. INVALID_ARGUMENT
// where some are another family's.
StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& dir,
                                                     const ModelConfig& config);

// kv: the type of keys and values. The error names file and key or tensor.
StatusOr<OpenedModel> OpenModel(const std::string& dir, DType kv);

}  // namespace precis
