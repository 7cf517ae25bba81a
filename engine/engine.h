// The engine: token ids in, token events out. One step thread owns scheduler, pages and model and
// runs schedule -> run -> apply -> emit until it is stopped.
//
// Owner: the server or a command; one for the life of the process. Thread rule: Submit, Cancel and
// the readers of stats may be called from any thread; a handle belongs to one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "engine/api/engine_stats.h"
#include "engine/api/generation.h"
#include "engine/api/model_info.h"
#include "engine/sched/priority.h"

namespace precis {

class EventQueue;   // engine/run/event_queue.h
class ModelRunner;  // engine/run/model_runner.h
class EngineLoop;   // engine/run/engine_loop.h

// What --device may be: cuda, the CPU, or ref, which is slow and exact; auto: cuda where there is a
// device and it has the type of the weights, else the CPU.
inline constexpr const char* kDevices[] = {"auto", "cpu", "cuda", "ref"};

struct EngineOptions {
  std::string model_dir;
  std::string served_model_name;  // empty: the checkpoint's (engine/model/checkpoint/model_name.h)
  std::string device = "auto";    // of kDevices
  std::string isa = "auto";       // pins kernels to one instruction set, for a fleet of mixed CPUs
  std::string dtype = "auto";     // weights: f32, bf16, int8; auto: bf16 where the device has it
  std::string kv_dtype = "auto";  // KV pages: f32, bf16, int8; auto: as dtype
  uint32_t threads = 0;           // 0: affinity and cgroup quota
  bool cuda_graphs = true;        // cuda: a decode step's launches as one; costs memory a graph
  uint64_t pool_bytes = 0;        // KV pages; 0: memory less weights and a fifth
  uint32_t max_batch = 64;        // sequences decoding at once; costs logits and scratch memory
  uint32_t max_sequences = 1024;  // accepted and unfinished, waiting ones included; costs little
  uint32_t max_source_tokens = 4096;  // costs two encoder workspaces of that length
  uint32_t max_new_tokens = 1024;     // most a request may ask for
  uint32_t encode_slice_rows = 128;   // rows of one piece of encoder work
  // Encoder work a step may add, as a share of a decode step. Infinite: all documents first, for an
  // offline batch.
  double encode_budget = 1.0;
  // Encoded documents stay in the pool while there is room, for the next request on the same text.
  bool cross_cache = true;
  // One principal's documents may serve another's requests: saves work where clients send the same
  // texts, and tells by its speed that somebody else sent this one.
  bool share_cross_cache = false;
};

enum class FinishReason { kEndOfSequence, kLength, kStopString, kCancelled, kDeadline, kError };

// One result of a beam search.
struct Hypothesis {
  std::vector<int32_t> tokens;  // without start token and </s>
  double score = 0;             // sum of log-probabilities / length ^ length_penalty
  FinishReason reason = FinishReason::kEndOfSequence;
};

// As far as the sequence has come; zero for what has not happened yet.
struct SequenceTimings {
  Duration queue{};        // submit to first encoder work
  Duration first_token{};  // submit to first token
  Duration total{};        // submit to this event
};

struct TokenEvent {
  // kProgress: a beam search, which has no tokens to tell before its end, has so many in `token`.
  enum class Kind { kStarted, kToken, kProgress, kFinished } kind = Kind::kToken;
  int32_t token = 0;                                   // kToken; </s> is not sent
  FinishReason reason = FinishReason::kEndOfSequence;  // kFinished
  Status status = {};                                  // kFinished with kError
  SequenceTimings timings = {};
  // The encoder had read the document, or was at it, for an earlier request of the same principal.
  bool cache_hit = false;
};

// Called by the step thread after it has put events into the request's queue: wake somebody, do not
// block. It may be called until the handle is gone.
class EventListener {
 public:
  virtual ~EventListener() = default;
  virtual void OnEvents() = 0;
};

struct SequenceRequest {
  std::vector<int32_t> source_ids;  // with </s>; 1 .. max_source_tokens
  GenerationOptions options;
  std::optional<TimePoint> deadline;
  // Whose request it is: documents are cached and turns are taken by principal. A bounded set (of
  // authenticated clients; empty: the anonymous one), never text of a request.
  std::string principal;
  Priority priority = Priority::kNormal;
  std::shared_ptr<EventListener> listener;  // shared: the step thread may call it while we leave
  uint32_t sequence_index = 0;  // which of the request's samples: part of their random numbers
};

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

  // Gives up cached documents that nobody reads. Blocks until the step thread has done it; nothing
  // after Stop().
  void FlushCache();

  // Ends the step thread. Whatever is unfinished ends with kFinished(kError, UNAVAILABLE).
  // Idempotent; the destructor calls it.
  void Stop();

  // What ResolveOptions needs to know of this engine.
  GenerationLimits generation_limits() const;
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
