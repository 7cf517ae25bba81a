// The step thread: schedule -> run -> apply -> emit, until stopped. It owns scheduler, pages and
// model; requests come in through a bounded queue, events go out through one queue a request.
//
// Owner: Engine. Thread rule: Submit, Stop and stats from any thread; everything else is the step
// thread's.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "common/bounded_queue.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "engine/engine.h"
#include "engine/engine_stats.h"
#include "engine/run/event_queue.h"
#include "engine/run/model_runner.h"
#include "engine/sched/page_pool.h"
#include "engine/sched/scheduler.h"

namespace precis {

class EngineLoop final : private PageTables {
 public:
  EngineLoop(const EngineOptions& options, std::unique_ptr<ModelRunner> runner,
             int32_t eos_token_id, uint64_t page_bytes);
  ~EngineLoop() override;

  StatusOr<std::shared_ptr<EventQueue>> Submit(SequenceRequest request);
  void Stop();
  EngineStats stats() const;
  uint32_t max_beams() const { return scheduler_.max_beams(); }
  void SetObserver(EngineObserver* observer) { observer_.store(observer); }

 private:
  struct Submission {
    SequenceRequest request;
    std::shared_ptr<EventQueue> queue;
    TimePoint submitted;
  };

  // A sequence between Add and its last event. Empty where queue is null.
  struct Active {
    SequenceRequest request;
    std::shared_ptr<EventQueue> queue;  // shared with the handle
    TimePoint submitted;
    TimePoint last_token;
    SequenceTimings timings;
    uint32_t generated = 0;
  };

  void Run();
  bool Intake();  // false: stopped
  void Join(Submission submission);
  void DropEnded();
  void Step();
  void ListDecoding(const StepPlan& plan);
  SequenceOutcome TakeStep(SequenceId id, const SequenceStep& step, TimePoint now);
  void Emit();
  void FinishDecoded(SequenceId id, const SequenceStep& step);
  void FailPlan(const StepPlan& plan, const Status& status);
  void Finish(SequenceId id, FinishReason reason, Status status);
  void Push(Active& a, TokenEvent event, TimePoint now);
  void FinishQueue(EventQueue& queue, FinishReason reason, Status status,
                   const SequenceTimings& timings);
  void Observe(const StepPlan& plan, Duration step_time);
  void Publish();
  bool CountIn();

  // PageTables
  std::span<const PageId> SelfPages(SequenceId id, uint32_t beam) const override;
  std::span<const PageId> CrossPages(SequenceId id) const override;

  const EngineOptions options_;
  const int32_t eos_token_id_;
  const uint64_t page_bytes_;
  const SteadyClock clock_;
  std::unique_ptr<ModelRunner> runner_;
  PagePool pool_;
  Scheduler scheduler_;

  // step thread only
  std::vector<Active> active_;  // by SequenceId
  std::vector<SequenceId> ids_in_use_;
  std::vector<SequenceOutcome> outcomes_;
  std::vector<SequenceId> decoding_;  // of the step under way, in the plan's order
  StepResult result_;
  double decode_us_ = 0;  // moving average of a step's decode part; 0: not measured yet
  EngineStats local_;

  BoundedQueue<Submission> submissions_;
  std::atomic<uint32_t> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<EngineObserver*> observer_{nullptr};
  std::atomic<int64_t> progress_ns_{0};  // steady clock, when the last step ended or work began
  mutable Mutex stats_mutex_;
  EngineStats stats_ PRECIS_GUARDED_BY(stats_mutex_);

  Mutex stop_mutex_;  // two callers of Stop() join once
  std::thread thread_ PRECIS_GUARDED_BY(stop_mutex_);
};

}  // namespace precis
