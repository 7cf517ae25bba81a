#include "tools/bench/engine_target.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <thread>
#include <utility>

#include "common/clock.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(1);

}  // namespace

Status EngineTarget::Send(size_t index, const LoadRequest& request) {
  SequenceRequest sequence;
  sequence.source_ids = request.source_ids;
  sequence.options.max_new_tokens = sequence.options.min_new_tokens = request.new_tokens;
  sequence.options.drafting = Drafting::kOff;
  Running running;
  PRECIS_ASSIGN_OR_RETURN(running.handle, engine_.Submit(std::move(sequence)));
  running.wanted = request.new_tokens;
  running.outcome.index = index;
  running_.push_back(std::move(running));
  return OkStatus();
}

Status EngineTarget::Take(std::vector<LoadOutcome>* outcomes) {
  for (Running& r : running_) {
    while (auto event = r.handle.Poll()) {
      const double at = Seconds(event->timings.total);
      if (event->kind == TokenEvent::Kind::kToken) {
        if (r.tokens++ > 0) r.outcome.inter_token_s.push_back(at - r.last_token_s);
        r.last_token_s = at;
      }
      if (event->kind != TokenEvent::Kind::kFinished) continue;
      PRECIS_RETURN_IF_ERROR(event->status);
      if (r.tokens != r.wanted) {
        return Internal(
            fmt::format("{} tokens were generated, {} were asked for", r.tokens, r.wanted));
      }
      r.outcome.first_token_s = Seconds(event->timings.first_token);
      r.outcome.total_s = at;
      r.outcome.finished = true;
    }
  }
  const auto ended = std::stable_partition(running_.begin(), running_.end(),
                                           [](const Running& r) { return !r.outcome.finished; });
  for (auto r = ended; r != running_.end(); ++r) outcomes->push_back(std::move(r->outcome));
  running_.erase(ended, running_.end());
  return OkStatus();
}

void EngineTarget::GiveUp() {
  running_.clear();
  for (EngineStats s = engine_.stats(); s.waiting + s.encoding + s.decoding > 0;
       s = engine_.stats()) {
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace precis
