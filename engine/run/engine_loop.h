// The step thread: schedule -> run -> apply -> emit, until stopped. It owns scheduler, pages and
// model; requests come in through a bounded queue, events go out through one queue a request.
//
// Owner: Engine. Thread rule: Submit, Stop and stats from any thread; everything else is the step
// thread's.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/bounded_queue.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "engine/api/engine_stats.h"
#include "engine/api/engine_options.h"
#include "engine/api/sequence.h"
#include "engine/run/event_queue.h"
#include "engine/run/model_runner.h"
#include "engine/run/paced_steps.h"
#include "engine/sched/document_index.h"
#include "engine/sched/page_pool.h"
#include "engine/sched/scheduler.h"
#include "engine/sched/tenant_ids.h"

namespace precis {

class EngineLoop final : private PageTables {
 public:
  EngineLoop(const EngineOptions& options, std::unique_ptr<ModelRunner> runner,
             std::vector<int32_t> end_tokens, uint64_t page_bytes);
  ~EngineLoop() override;

  StatusOr<std::shared_ptr<EventQueue>> Submit(SequenceRequest request);
  void FlushCache();
  void Stop();
  EngineStats stats() const;
  uint32_t max_beams() const { return scheduler_.max_beams(); }
  void SetObserver(EngineObserver* observer) { observer_.store(observer); }

 private:
  static constexpr size_t kMostTenants = 16384;

  // A request, or with no queue a call of FlushCache().
  struct Submission {
    SequenceRequest request;
    std::shared_ptr<EventQueue> queue;
    TimePoint submitted;
    std::promise<void>* flushed = nullptr;
  };

  // A sequence between Add and its last event. Empty where queue is null.
  struct Active {
    SequenceRequest request;
    std::shared_ptr<EventQueue> queue;  // shared with the handle
    TimePoint submitted;
    TimePoint last_token;
    SequenceTimings timings;
    uint32_t generated = 0;
    bool own_document = false;  // an earlier request of the same principal brought it
    bool cache_hit = false;
  };

  static Status DeviceFailed();
  static SequenceSpec SpecOf(const SequenceRequest& request);
  void Run();
  bool Intake();  // false: stopped
  void Take(Submission submission);
  void Join(Submission submission);
  void ForgetDocuments();
  void Admitted(SequenceId id, TimePoint now);
  void DropEnded();
  void Step();
  void ListDecoding(const StepPlan& plan);
  SequenceOutcome TakeStep(SequenceId id, const SequenceStep& step, TimePoint now);
  void ObserveToken(Active& a, TimePoint now);
  void Emit();
  void FinishDecoded(SequenceId id, const SequenceStep& step);
  void FailPlan(const StepPlan& plan, const Status& status);
  void GiveUpDevice(const StepPlan& plan, const Status& why);
  void EndAll(const Status& status);
  void Finish(SequenceId id, FinishReason reason, const Status& status);
  void Push(Active& a, TokenEvent event, TimePoint now);
  void FinishQueue(EventQueue& queue, TokenEvent last);
  void Observe(const StepPlan& plan, Duration step_time);
  void Publish();
  bool CountIn();

  // PageTables
  std::span<const PageId> SelfPages(SequenceId id, uint32_t beam) const override;
  std::span<const PageId> CrossPages(SequenceId id) const override;
  std::span<const PageId> DocumentPages(DocumentId id) const override;

  const EngineOptions options_;
  const std::vector<int32_t> end_tokens_;
  const uint64_t page_bytes_;
  const SteadyClock clock_;
  std::unique_ptr<ModelRunner> runner_;
  PagePool pool_;
  Scheduler scheduler_;

  // step thread only
  DocumentIndex documents_;
  std::vector<TenantId> document_owner_;  // by DocumentId: who brought it
  TenantIds tenants_{kMostTenants};
  std::vector<Active> active_;  // by SequenceId
  std::vector<SequenceId> ids_in_use_;
  std::vector<SequenceOutcome> outcomes_;
  std::vector<SequenceId> decoding_;  // of the step under way, in the plan's order
  StepResult result_;
  PacedSteps steps_;
  EngineStats local_;

  BoundedQueue<Submission> submissions_;
  std::atomic<uint32_t> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> device_failed_{false};  // for good
  std::atomic<EngineObserver*> observer_{nullptr};
  std::atomic<int64_t> progress_ns_{0};  // steady clock, when the last step ended or work began
  mutable Mutex stats_mutex_;
  EngineStats stats_ PRECIS_GUARDED_BY(stats_mutex_);

  Mutex flush_mutex_;  // one flush at a time: the queue has room for one
  Mutex stop_mutex_;   // two callers of Stop() join once
  std::thread thread_ PRECIS_GUARDED_BY(stop_mutex_);
};

}  // namespace precis
