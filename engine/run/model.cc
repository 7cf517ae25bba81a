#include "engine/run/model.h"

#include <utility>

namespace precis {
namespace {

constexpr int kWorkspaces = 2;

}  // namespace

Model::Model(const EngineOptions& options, ModelConfig model_config,
             std::unique_ptr<Backend> device_backend, ModelWeights packed, KvLayout kv_layout,
             KvMemory kv_memory, DeviceAllocator& allocator)
    : config(std::move(model_config)),
      backend(std::move(device_backend)),
      weights(std::move(packed)),
      layout(std::move(kv_layout)),
      memory(std::move(kv_memory)),
      encode_shape{config.encoder.layers, config.decoder.layers, options.encode_slice_rows},
      limits{options.max_source_tokens, options.max_new_tokens, options.max_batch},
      encoder(config, weights, layout, memory.pool(), options.encode_slice_rows, allocator),
      decoder(config, weights, layout, memory.pool(), options.max_batch, allocator) {
  for (int i = 0; i < kWorkspaces; ++i) {
    workspaces.emplace_back(config, weights.types.others, options.max_source_tokens, allocator);
  }
}

DecodeBatch Model::MakeBatch() const {
  DecodeBatch batch;
  batch.Reserve(limits.max_batch, PagesFor(limits.max_new_tokens, layout.self.slots),
                PagesFor(limits.max_source_tokens, layout.cross.slots));
  return batch;
}

TokenPicker Model::MakePicker() const {
  return {config.vocab_size, limits.max_batch, config.tokens.ends, *backend};
}

}  // namespace precis
