#include "tools/bench/load.h"

#include <algorithm>
#include <random>
#include <thread>

#include "common/clock.h"

namespace precis {
namespace {

constexpr int32_t kLowestId = 10;  // ids that every tokenizer has
constexpr int32_t kHighestId = 500;
constexpr int32_t kEndOfSource = 1;  // </s> of T5 and mT5
// How often we look for ends. No one waits for one: times are taken where they happen.
constexpr double kPollSeconds = 0.005;

class LoadRun {
 public:
  LoadRun(LoadTarget& target, const std::vector<double>& due_s) : target_(target), due_s_(due_s) {
    late_s_.resize(due_s.size());
    outcomes_.resize(due_s.size());
  }

  double Now() const { return Seconds(clock_.Now() - start_); }
  size_t ended() const { return ended_; }

  Status Send(size_t index, const LoadRequest& request) {
    late_s_[index] = Now() - due_s_[index];
    return target_.Send(index, request);
  }

  Status Take() {
    taken_.clear();
    PRECIS_RETURN_IF_ERROR(target_.Take(&taken_));
    ended_ += taken_.size();
    for (LoadOutcome& outcome : taken_) {
      const double late_s = late_s_[outcome.index];
      if (outcome.first_token_s > 0) outcome.first_token_s += late_s;
      outcome.total_s += late_s;
      outcomes_[outcome.index] = std::move(outcome);
    }
    return OkStatus();
  }

  std::vector<LoadOutcome> End() {
    if (ended_ < outcomes_.size()) target_.GiveUp();
    const double now = Now();
    for (size_t i = 0; i < outcomes_.size(); ++i) {
      if (outcomes_[i].finished) continue;
      outcomes_[i].index = i;
      outcomes_[i].total_s = std::max(now - due_s_[i], 0.0);
    }
    return std::move(outcomes_);
  }

 private:
  LoadTarget& target_;
  const std::vector<double>& due_s_;
  const SteadyClock clock_{};
  const TimePoint start_ = clock_.Now();
  std::vector<double> late_s_;
  std::vector<LoadOutcome> outcomes_;
  std::vector<LoadOutcome> taken_;
  size_t ended_ = 0;
};

void SleepSeconds(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

}  // namespace

std::vector<int32_t> RandomSource(uint64_t seed, uint32_t tokens, uint32_t vocab_size) {
  const auto most = std::min(kHighestId, static_cast<int32_t>(vocab_size) - 1);
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int32_t> id(std::min(kLowestId, most), most);
  std::vector<int32_t> source(tokens);
  for (int32_t& token : source) token = id(random);
  source.back() = kEndOfSource;
  return source;
}

StatusOr<std::vector<LoadOutcome>> RunLoad(LoadTarget& target,
                                           const std::vector<LoadRequest>& requests,
                                           const std::vector<double>& due_s, double limit_s,
                                           const std::function<void(size_t)>& on_ended) {
  LoadRun run(target, due_s);
  for (size_t sent = 0; run.ended() < requests.size() && run.Now() < limit_s;) {
    const double wait = sent < requests.size() ? due_s[sent] - run.Now() : kPollSeconds;
    if (wait > 0) SleepSeconds(std::min(wait, kPollSeconds));
    if (sent < requests.size() && run.Now() >= due_s[sent]) {
      PRECIS_RETURN_IF_ERROR(run.Send(sent, requests[sent]));
      ++sent;
      continue;  // others may be due, too
    }
    PRECIS_RETURN_IF_ERROR(run.Take());
    on_ended(run.ended());
  }
  return run.End();
}

}  // namespace precis
