#include "engine/engine.h"

#include <utility>

#include "engine/api/machine.h"
#include "engine/api/too_long.h"
#include "engine/load/load_model.h"
#include "engine/load/memory_errors.h"
#include "engine/run/engine_loop.h"
#include "engine/run/event_queue.h"
#include "engine/run/model_runner.h"
#include "engine/run/step_runner.h"
#include "fmt/format.h"
#include "kernels/own_thread.h"

namespace precis {

SequenceHandle::SequenceHandle(std::shared_ptr<EventQueue> queue) : queue_(std::move(queue)) {}

SequenceHandle& SequenceHandle::operator=(SequenceHandle&& other) noexcept {
  if (this != &other) {
    Cancel();
    queue_ = std::move(other.queue_);
  }
  return *this;
}

std::optional<TokenEvent> SequenceHandle::Poll() { return queue_ ? queue_->Poll() : std::nullopt; }

void SequenceHandle::Cancel() {
  if (queue_) queue_->RequestCancel();
}

const std::vector<Hypothesis>& SequenceHandle::hypotheses() const { return queue_->hypotheses(); }

Engine::Engine(const EngineOptions& options, ModelInfo info, std::unique_ptr<EngineLoop> loop)
    : options_(options), info_(std::move(info)), loop_(std::move(loop)) {}

Engine::~Engine() { Stop(); }

StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options) {
  return WithMemoryErrors([&]() -> StatusOr<std::unique_ptr<Engine>> {
    PRECIS_ASSIGN_OR_RETURN(LoadedModel loaded, OnOwnThread([&] { return LoadModel(options); }));
    ReturnFreedMemory();
    return CreateWithRunner(loaded.options, std::make_unique<StepRunner>(std::move(loaded.parts)),
                            std::move(loaded.info));
  });
}

StatusOr<std::unique_ptr<Engine>> Engine::CreateWithRunner(const EngineOptions& options,
                                                           std::unique_ptr<ModelRunner> runner,
                                                           ModelInfo info) {
  auto loop =
      std::make_unique<EngineLoop>(options, std::move(runner), info.end_token_ids, info.page_bytes);
  return std::unique_ptr<Engine>(new Engine(options, std::move(info), std::move(loop)));
}

StatusOr<SequenceHandle> Engine::Submit(SequenceRequest request) {
  const size_t tokens = request.source_ids.size();
  if (tokens == 0) return FieldError("source", "has no tokens");
  if (tokens > options_.max_source_tokens) {
    return FieldTooLarge("source", SourceTooLong(tokens, source_limit()));
  }
  for (size_t i = 0; i < tokens; ++i) {
    const int32_t id = request.source_ids[i];
    if (id < 0 || static_cast<uint32_t>(id) >= info_.vocab_size) {
      return FieldError("source", fmt::format("token id {} at {} is outside the vocabulary of {}",
                                              id, i, info_.vocab_size));
    }
  }
  const uint32_t new_tokens = request.options.max_new_tokens;
  if (new_tokens == 0 || new_tokens > options_.max_new_tokens) {
    return FieldError("options.max_new_tokens",
                      fmt::format("is {}, must be 1 to {}", new_tokens, options_.max_new_tokens));
  }
  if (request.options.num_beams > loop_->max_beams()) {
    return FieldError("options.num_beams",
                      fmt::format("is {}, this server's batch allows {}", request.options.num_beams,
                                  loop_->max_beams()));
  }
  PRECIS_ASSIGN_OR_RETURN(auto queue, loop_->Submit(std::move(request)));
  return SequenceHandle(std::move(queue));
}

GenerationLimits Engine::generation_limits() const {
  return {options_.max_new_tokens, info_.vocab_size, loop_->max_beams(),
          static_cast<uint32_t>(info_.end_token_ids.size()), info_.decoder.max_positions};
}

SourceLimit Engine::source_limit() const {
  return {options_.max_source_tokens, info_.encoder.max_positions};
}

void Engine::FlushCache() { loop_->FlushCache(); }

void Engine::Stop() { loop_->Stop(); }

EngineStats Engine::stats() const { return loop_->stats(); }

void Engine::SetObserver(EngineObserver* observer) { loop_->SetObserver(observer); }

}  // namespace precis
