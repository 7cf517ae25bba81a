// Runs sequences to their end and waits: for verification, benchmarks and tests, where no one
// streams. Thread rule: one thread submits and waits.
#pragma once

#include <memory>
#include <vector>

#include "common/mutex.h"
#include "engine/engine.h"

namespace precis {

class Arrival final : public EventListener {
 public:
  void OnEvents() override {
    {
      MutexLock lock(mutex_);
      ++events_;
    }
    ready_.NotifyOne();
  }
  // Waits until there was an event since the last call.
  void Wait() {
    MutexLock lock(mutex_);
    while (events_ == 0) ready_.Wait(mutex_);
    events_ = 0;
  }

 private:
  Mutex mutex_;
  CondVar ready_;
  uint64_t events_ PRECIS_GUARDED_BY(mutex_) = 0;
};

struct RunResult {
  Status status;
  FinishReason reason = FinishReason::kEndOfSequence;
  std::vector<int32_t> tokens;         // without start token and </s>; of a beam search empty
  std::vector<Hypothesis> hypotheses;  // of a beam search
};

// A sequence that was submitted and not waited for yet.
class BlockingRun {
 public:
  static StatusOr<BlockingRun> Submit(Engine& engine, std::vector<int32_t> source_ids,
                                      const GenerationOptions& options) {
    BlockingRun run;
    SequenceRequest request;
    request.source_ids = std::move(source_ids);
    request.options = options;
    request.listener = run.arrival_;
    PRECIS_ASSIGN_OR_RETURN(run.handle_, engine.Submit(std::move(request)));
    return run;
  }

  RunResult Wait() {
    RunResult out;
    while (true) {
      while (auto event = handle_.Poll()) {
        if (event->kind == TokenEvent::Kind::kToken) out.tokens.push_back(event->token);
        if (event->kind != TokenEvent::Kind::kFinished) continue;
        out.reason = event->reason;
        out.status = event->status;
        out.hypotheses = handle_.hypotheses();
        return out;
      }
      arrival_->Wait();
    }
  }

 private:
  std::shared_ptr<Arrival> arrival_ = std::make_shared<Arrival>();  // shared with the step thread
  SequenceHandle handle_;
};

}  // namespace precis
