// One summarization under way, as a state machine driven by wake-ups: tokenize and submit, then
// turn token events into text until the end. It runs on the text pool, one wake-up at a time.
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

#include "engine/engine.h"
#include "engine/run/text_pool.h"
#include "engine/summarizer.h"
#include "engine/text/stop_strings.h"
#include "engine/text/tokenizer.h"

namespace precis {

class TextCall final : public EventListener, public std::enable_shared_from_this<TextCall> {
 public:
  struct Context {
    Engine& engine;
    const Tokenizer& tokenizer;
    std::shared_ptr<TextPool> pool;  // the step thread's last wake-up may outlive the summarizer
    std::function<void(TextCall*)> on_gone;  // after OnFinished; ends the summarizer's share
  };

  TextCall(const Context& context, SummarizeRequest request, ResolvedOptions options,
           std::shared_ptr<SummaryListener> listener);

  void Wake();
  void Cancel();

  // EventListener
  void OnEvents() override { Wake(); }

 private:
  void RunWakeups();
  void Process();
  Status Begin();
  StatusOr<std::vector<int32_t>> SourceIds();
  void Drain();
  void OnToken(int32_t token);
  void End(FinishReason reason);
  void EndBeams();
  void Deliver(const std::string& text);
  void Finish(StatusOr<Summary> summary);

  const Context context_;
  SummarizeRequest request_;
  std::shared_ptr<SummaryListener> listener_;  // the caller's; shared with the transport
  std::atomic<uint32_t> wakeups_{0};
  std::atomic<bool> cancelled_{false};

  enum class State { kNew, kRunning, kDone } state_ = State::kNew;
  SequenceHandle handle_;
  std::optional<StreamDecoder> decoder_;
  StopMatcher stops_;
  Summary summary_;
  SummaryText text_;
};

}  // namespace precis
