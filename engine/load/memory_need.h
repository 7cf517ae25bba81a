// What serving a model takes of memory, counted from headers alone: whoever asks for more than
// there is gets one line that says so, before any of it is claimed.
//
// Called while loading and by inspect and benchmarks. Thread rule: functions, no state.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "engine/api/engine_options.h"
#include "engine/api/machine.h"
#include "engine/load/open_model.h"
#include "engine/model/config/model_config.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"

namespace precis {

// Bytes; scales of int8 and what alignment adds aside.
struct MemoryNeed {
  uint64_t weights = 0;     // packed, with the embedding
  uint64_t pool = 0;        // of KV pages; what was asked for, or the least
  uint64_t workspaces = 0;  // what steps compute in: activations, scores
  uint64_t reserved = 0;    // address space alone: stacks, chunks that weights are packed into

  uint64_t Sum() const;  // the largest number where 64 bits do not hold it
};

// Of all tensors in the types that loading stores them in, decoder heads folded. A vocabulary that
// is multiplied with as well as looked up is there twice.
uint64_t PackedWeightBytes(const OpenedModel& model, const WeightTypes& types);

// Two documents' encoder workspaces, a slice's and a step's activations, and the scores of a panel
// of `panel_tokens` and of rows that sample. `activations`: the type that GEMMs read.
uint64_t WorkspaceBytes(const ModelConfig& config, const EngineOptions& options, DType activations,
                        uint64_t panel_tokens);

// Of the tables of position biases, one row a head for all distances of the longest sequences.
uint64_t PositionBiasBytes(const ModelConfig& config, const EngineOptions& options);

// Whether the config's sizes are those of the tensors, as far as the need follows them: a config
// that is wrong must not be taken for a machine that is too small. The error names the tensor.
Status CheckSizes(const OpenedModel& model);

MemoryNeed NeedOf(const OpenedModel& model, const WeightTypes& types, const EngineOptions& options,
                  const Backend& backend);

// RESOURCE_EXHAUSTED with all these numbers, where more is needed than `limit` leaves. A limit of 0
// bytes is none.
Status CheckMemory(const MemoryNeed& need, const MemoryLimit& limit);

}  // namespace precis
