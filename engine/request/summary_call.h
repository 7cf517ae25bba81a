// One summarization under way, as a state machine driven by wake-ups: tokenize and plan, then one
// round of sequences after the other until the last has the summary. A source that is read whole
// has one round, its samples; windows have a round of their own before it, their summaries perhaps
// another one (docs/long_documents.md). It runs on the text pool, one wake-up at a time.
//
// Owner: shared by the summarizer (until it is finished), the caller's handle and the step thread
// (as listener). Thread rule: Wake and Cancel from any thread; the rest in the text pool.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "engine/engine.h"
#include "engine/request/reading_plan.h"
#include "engine/request/sequence_round.h"
#include "engine/request/summarizer.h"
#include "engine/request/text_pool.h"
#include "engine/request/waiting_calls.h"
#include "engine/text/tokenizer.h"

namespace precis {

class TextCall final : public EventListener, public std::enable_shared_from_this<TextCall> {
 public:
  struct Context {
    Engine& engine;
    const Tokenizer& tokenizer;
    WaitingCalls& waiting;
    std::shared_ptr<TextPool> pool;  // the step thread's last wake-up may outlive the summarizer
    std::function<void(TextCall*)> on_gone;  // after OnFinished; ends the summarizer's share
  };

  TextCall(const Context& context, ValidRequest request, std::shared_ptr<SummaryListener> listener);

  void Wake();
  void Cancel();

  // EventListener
  void OnEvents() override { Wake(); }

 private:
  void RunWakeups();
  void Process();
  // Notices what ends the call from outside: a cancellation, or its deadline while nothing of it is
  // in the engine (which minds the deadline of what it has).
  void CheckEnd();
  void Begin();
  StatusOr<ReadingPlan> PlanSource();
  void StartRound(ReadingPlan plan);
  SequenceRequest MakeRequest(size_t index);
  // Submits what may be in flight; the first time that the engine took something, it is accepted.
  Status TrySubmit();
  // The same, and a full engine is waited for.
  void Submit();
  void Read();
  void NoteStarted();
  void NoteSearched();
  void NoteCacheHits();
  void EndWindows();
  void EndBlank();
  void EndSummary();
  void WarnOfFewer();
  void AddTimings(const SequenceTimings& t);
  void Fail(const Status& why);
  void Finish(StatusOr<Summary> summary);

  const Context context_;
  const SteadyClock clock_;
  const ReadingPlanner planner_;
  ValidRequest request_;
  std::shared_ptr<SummaryListener> listener_;  // the caller's; shared with the transport
  std::atomic<uint32_t> wakeups_{0};
  std::atomic<bool> cancelled_{false};

  // Windows are summarized into text for the next round, the summary is what is asked for.
  enum class State { kNew, kWindows, kSummary, kDone } state_ = State::kNew;
  Status failure_;  // the first; the call ends with it when the engine has let go of everything
  bool accepted_ = false;
  bool started_ = false;
  uint32_t searched_ = 0;
  SourceFrame frame_;                           // of the source
  std::string prefix_;                          // of every passage
  uint32_t splits_ = 0;                         // rounds of windows so far
  std::vector<std::vector<int32_t>> passages_;  // of the round under way
  std::optional<SequenceRound> round_;
  TimePoint begin_;        // when the engine had the first sequence
  TimePoint round_begin_;  // and the first one of this round
  Summary summary_;
};

}  // namespace precis
