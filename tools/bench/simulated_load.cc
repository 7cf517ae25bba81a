#include "tools/bench/simulated_load.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/check.h"
#include "engine/run/paced_steps.h"
#include "engine/sched/page_pool.h"
#include "engine/sched/scheduler.h"

namespace precis {
namespace {

class SimulatedEngine final : private PageTables {
 public:
  SimulatedEngine(const EngineOptions& options, ModelRunner& runner, SimulatedClock& clock,
                  const std::vector<LoadRequest>& requests, const std::vector<double>& due_s)
      : runner_(runner),
        clock_(clock),
        requests_(requests),
        due_s_(due_s),
        pool_(runner.num_pages()),
        scheduler_(SchedulerOptionsOf(options, runner), pool_),
        steps_(options, scheduler_, runner),
        running_(options.max_sequences),
        outcomes_(requests.size()) {}

  size_t ended() const { return ended_; }
  double Now() const { return Seconds(clock_.Now() - start_); }

  // Waits for the next request where there is none, then one step of all that are due.
  Status Step() {
    if (scheduler_.idle()) clock_.AdvanceTo(start_ + FromSeconds(due_s_[sent_]));
    while (sent_ < requests_.size() && start_ + FromSeconds(due_s_[sent_]) <= clock_.Now()) {
      Send(sent_++);
    }
    const TimePoint begin = clock_.Now();
    const StepPlan& plan = steps_.Next();
    decoding_.clear();
    for (const DecodeRow& row : plan.decodes) {
      if (row.draft == 0) decoding_.push_back(row.sequence);
    }
    PRECIS_RETURN_IF_ERROR(runner_.Run(plan, *this, &result_));
    steps_.Observe(plan, Microseconds(clock_.Now() - begin), result_.decode_us);
    TakeTokens();
    ForgetDocuments();
    return OkStatus();
  }

  // The rest is given up.
  std::vector<LoadOutcome> End() {
    for (SequenceId id = 0; id < running_.size(); ++id) {
      if (!running_[id].live) continue;
      scheduler_.Remove(id);
      runner_.Leave(id);
    }
    scheduler_.FlushDocuments();
    ForgetDocuments();
    for (size_t i = 0; i < outcomes_.size(); ++i) {
      if (outcomes_[i].finished) continue;
      outcomes_[i].index = i;
      outcomes_[i].total_s = std::max(Now() - due_s_[i], 0.0);
    }
    return std::move(outcomes_);
  }

 private:
  struct Running {
    bool live = false;
    size_t index = 0;  // of the request
    uint32_t tokens = 0;
    double last_token_s = 0;
    GenerationOptions options;
  };

  static Duration FromSeconds(double s) { return Duration(std::llround(s * 1e9)); }

  void Send(size_t index) {
    const LoadRequest& request = requests_[index];
    SequenceSpec spec;
    spec.source_tokens = static_cast<uint32_t>(request.source_ids.size());
    spec.max_new_tokens = request.new_tokens;
    const SequenceId id = scheduler_.Add(spec);
    const DocumentId document = scheduler_.document(id);
    Running& r = running_[id];
    r = {true, index, 0, 0, {}};
    r.options.max_new_tokens = r.options.min_new_tokens = request.new_tokens;
    r.options.drafting = Drafting::kOff;
    runner_.JoinDocument(document, request.source_ids);
    runner_.Join(id, {request.source_ids, &r.options, request.new_tokens});
  }

  void TakeTokens() {
    const double now = Now();
    applied_.clear();
    for (size_t i = 0; i < decoding_.size(); ++i) {
      const SequenceStep& step = result_.sequences[i];
      PRECIS_CHECK(!step.failed && !step.tokens.empty());
      Running& r = running_[decoding_[i]];
      LoadOutcome& outcome = outcomes_[r.index];
      if (r.tokens == 0) {
        outcome.first_token_s = now - due_s_[r.index];
      } else {
        outcome.inter_token_s.push_back(now - r.last_token_s);
      }
      r.last_token_s = now;
      const auto advanced = static_cast<uint32_t>(step.tokens.size());
      r.tokens += advanced;
      const bool finished = r.tokens >= r.options.max_new_tokens;
      applied_.push_back({decoding_[i], finished, kOnlyBeam, advanced});
      if (finished) {
        outcome.index = r.index;
        outcome.total_s = now - due_s_[r.index];
        outcome.finished = true;
      }
    }
    scheduler_.Apply(applied_);
    for (const SequenceOutcome& outcome : applied_) {
      if (!outcome.finished) continue;
      runner_.Leave(outcome.sequence);
      running_[outcome.sequence].live = false;
      ++ended_;
    }
  }

  void ForgetDocuments() {
    for (const DocumentId id : scheduler_.forgotten()) runner_.LeaveDocument(id);
    scheduler_.ClearForgotten();
  }

  // PageTables
  std::span<const PageId> SelfPages(SequenceId id, uint32_t beam) const override {
    return scheduler_.self_pages(id, beam);
  }
  std::span<const PageId> CrossPages(SequenceId id) const override {
    return scheduler_.cross_pages(id);
  }
  std::span<const PageId> DocumentPages(DocumentId id) const override {
    return scheduler_.document_pages(id);
  }

  ModelRunner& runner_;
  SimulatedClock& clock_;
  const std::vector<LoadRequest>& requests_;
  const std::vector<double>& due_s_;
  const TimePoint start_ = clock_.Now();
  PagePool pool_;
  Scheduler scheduler_;
  PacedSteps steps_;
  std::vector<Running> running_;  // by SequenceId
  std::vector<LoadOutcome> outcomes_;
  std::vector<SequenceId> decoding_;  // of the step, in the plan's order
  std::vector<SequenceOutcome> applied_;
  StepResult result_;
  size_t sent_ = 0;
  size_t ended_ = 0;
};

}  // namespace

StatusOr<std::vector<LoadOutcome>> SimulateLoad(const EngineOptions& options, ModelRunner& runner,
                                                SimulatedClock& clock,
                                                const std::vector<LoadRequest>& requests,
                                                const std::vector<double>& due_s, double limit_s,
                                                const std::function<void(size_t)>& on_ended) {
  SimulatedEngine engine(options, runner, clock, requests, due_s);
  while (engine.ended() < requests.size() && engine.Now() < limit_s) {
    PRECIS_RETURN_IF_ERROR(engine.Step());
    on_ended(engine.ended());
  }
  return engine.End();
}

}  // namespace precis
