// A model in memory: its weights and pages, and its encoder and decoder with the buffers that they
// compute in. A StepRunner runs it; before that, a Calibration times it or a ModelProbe looks into
// it. These share pages and buffers, so one of them works at a time.
//
// Owner: who loaded it, then the StepRunner. Thread rule: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/math.h"
#include "engine/api/engine_options.h"
#include "engine/decoding/token_picker.h"
#include "engine/model/config/model_config.h"
#include "engine/model/decoder.h"
#include "engine/model/encoder.h"
#include "engine/model/kv_layout.h"
#include "engine/model/kv_memory.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"
#include "kernels/device_allocator.h"

namespace precis {

// How many pages of `slots` tokens hold `tokens` tokens.
inline uint32_t PagesFor(size_t tokens, uint32_t slots) {
  return static_cast<uint32_t>(CeilDiv(tokens, slots));
}

struct Model {
  // Most of one document, one summary and one step; the buffers have room for no more.
  struct Limits {
    uint32_t max_source_tokens = 0;
    uint32_t max_new_tokens = 0;
    uint32_t max_batch = 0;
  };

  // Claims the buffers; `allocator` says whether there was memory for them.
  Model(const EngineOptions& options, ModelConfig model_config,
        std::unique_ptr<Backend> device_backend, ModelWeights packed, KvLayout kv_layout,
        KvMemory kv_memory, DeviceAllocator& allocator);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // With room for the largest step.
  DecodeBatch MakeBatch() const;
  TokenPicker MakePicker() const;

  const ModelConfig config;
  const std::unique_ptr<Backend> backend;
  const ModelWeights weights;
  const KvLayout layout;
  const KvMemory memory;
  const EncodeShape encode_shape;
  const Limits limits;
  Encoder encoder;
  Decoder decoder;
  std::vector<EncoderWorkspace> workspaces;  // one a document that is being encoded
};

}  // namespace precis
