// The engine: token ids in, token events out. One step thread owns scheduler, pages and model and
// runs schedule -> run -> apply -> emit until it is stopped.
//
// Owner: the server or a command; one for the life of the process. Thread rule: Submit, Cancel and
// the readers of stats may be called from any thread; a handle belongs to one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "common/status.h"
#include "engine/api/engine_options.h"
#include "engine/api/engine_stats.h"
#include "engine/api/generation.h"
#include "engine/api/model_info.h"
#include "engine/api/sequence.h"
#include "engine/api/too_long.h"

namespace precis {

class EventQueue;   // engine/run/event_queue.h
class ModelRunner;  // engine/run/model_runner.h
class EngineLoop;   // engine/run/engine_loop.h

// One accepted request. Move-only; dropping it cancels the request and gives its pages back.
class SequenceHandle {
 public:
  SequenceHandle() = default;
  SequenceHandle(SequenceHandle&&) noexcept = default;
  SequenceHandle& operator=(SequenceHandle&& other) noexcept;
  ~SequenceHandle() { Cancel(); }

  // The next event, if there is one. After kFinished there is none.
  std::optional<TokenEvent> Poll();
  // Idempotent. Unless it has finished, the sequence ends with kFinished(kCancelled) soon after.
  void Cancel();
  // With beams, after kFinished: num_return_sequences of them, best first.
  const std::vector<Hypothesis>& hypotheses() const;

 private:
  friend class Engine;
  explicit SequenceHandle(std::shared_ptr<EventQueue> queue);
  std::shared_ptr<EventQueue> queue_;  // shared by the step thread and the reader
};

class Engine {
 public:
  // Loads the checkpoint, packs and folds weights, claims all memory, starts the step thread.
  // The error names the file and the tensor.
  static StatusOr<std::unique_ptr<Engine>> Create(const EngineOptions& options);
  // The same engine around another runner: tests pass a fake one. `info` describes it.
  static StatusOr<std::unique_ptr<Engine>> CreateWithRunner(const EngineOptions& options,
                                                            std::unique_ptr<ModelRunner> runner,
                                                            ModelInfo info);
  ~Engine();

  // Checks sizes against the pool (INVALID_ARGUMENT naming the field, with both numbers) and puts
  // the request into the queue. RESOURCE_EXHAUSTED with Reason::kQueueFull when max_sequences are
  // unfinished, UNAVAILABLE with Reason::kStopped after Stop(), with Reason::kDeviceFailed after
  // the device has failed for good.
  StatusOr<SequenceHandle> Submit(SequenceRequest request);

  // Gives up cached documents that no one reads. Blocks until the step thread has done it; nothing
  // after Stop().
  void FlushCache();

  // Ends the step thread. Whatever is unfinished ends with kFinished(kError, UNAVAILABLE).
  // Idempotent; the destructor calls it.
  void Stop();

  // What ResolveOptions needs to know of this engine.
  GenerationLimits generation_limits() const;
  SourceLimit source_limit() const;
  const ModelInfo& info() const { return info_; }
  const EngineOptions& options() const { return options_; }
  EngineStats stats() const;  // a snapshot; cheap
  // Per-step and per-request observations for histograms; nullptr for none. Set before requests.
  void SetObserver(EngineObserver* observer);

 private:
  Engine(const EngineOptions& options, ModelInfo info, std::unique_ptr<EngineLoop> loop);

  const EngineOptions options_;
  const ModelInfo info_;
  std::unique_ptr<EngineLoop> loop_;
};

}  // namespace precis
