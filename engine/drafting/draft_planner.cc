#include "engine/drafting/draft_planner.h"

#include <algorithm>
#include <utility>

namespace precis {
namespace {

// Chance that a draft token stands, by length of match, before anything was seen; optimistic, so
// that drafting is tried. It counts as much as kPriorTrials drafts, and what was seen is forgotten,
// so that drafting is tried again.
constexpr std::array<double, 8> kPrior = {0.35, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85};
constexpr double kPriorTrials = 4;
constexpr double kForgetAStep = 1.0 / 512;
// How fast a sequence's own record forgets, a draft token; and what it starts with.
constexpr double kForgetADraft = 0.1;
constexpr double kRecordTrials = 2;
// A draft token less likely than this is not fed, even where its row costs nothing.
constexpr double kLeastGain = 0.05;
// A step must be expected to be better by this much.
constexpr double kMargin = 1.05;
// The account: what a step without drafts adds to it, what it holds at first and at most, in such
// steps. Over n steps, drafts lose at most kStart + n * kShare of them.
constexpr double kShare = 0.015;
constexpr double kStart = 1;
constexpr double kMost = 2;
// Where it is not known well enough what a step without drafts costs, one in so many has none.
constexpr uint32_t kPlainEvery = 16;

}  // namespace

DraftPlanner::DraftPlanner(uint32_t max_rows, StepCost cost)
    : cost_(std::move(cost)), balance_us_(kStart * cost_.Us(1)) {
  heap_.reserve(max_rows);
  ranking_.reserve(max_rows);
  ranked_.reserve(max_rows);
}

double DraftPlanner::Chance(uint32_t match) const {
  const size_t i = std::min<size_t>(match, tallies_.size()) - 1;
  return (tallies_[i].stood + kPriorTrials * kPrior[i]) / (tallies_[i].tried + kPriorTrials);
}

// Expected tokens of draft number `drafts` (from 0), where that of the draft before it is `gain`.
double DraftPlanner::Gain(const DraftCandidate& c, uint32_t drafts, double gain) const {
  const double luck = (c.record.stood + kRecordTrials) / (c.record.expected + kRecordTrials);
  return gain * std::min(0.98, luck * Chance(c.draft.match + drafts));
}

bool DraftPlanner::CanPay(const PlainStep& step) const {
  const double plain = cost_.Us(step.rows);
  for (uint32_t drafts = 1; drafts <= step.spare_rows; drafts *= 2) {
    const double better = 1.0 + static_cast<double>(drafts) / step.tokens;
    if (better * plain > kMargin * cost_.Us(step.rows + drafts)) return true;
  }
  return false;
}

// Ranks drafts by what they gain and returns how many of them are best to feed.
uint32_t DraftPlanner::Rank(const PlainStep& step, std::span<const DraftCandidate> candidates) {
  const auto worse = [](const Choice& a, const Choice& b) {
    return a.gain != b.gain ? a.gain < b.gain : a.candidate > b.candidate;
  };
  heap_.clear();
  ranking_.clear();
  ranked_.assign(candidates.size(), 0);
  for (uint32_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].draft.tokens > 0) heap_.push_back({Gain(candidates[i], 0, 1), i});
  }
  std::ranges::make_heap(heap_, worse);
  const double plain = cost_.Us(step.rows);
  double best = kMargin * step.tokens / plain;
  double tokens = step.tokens;
  uint32_t drafts = 0;
  while (!heap_.empty() && heap_[0].gain >= kLeastGain && ranking_.size() < step.spare_rows) {
    std::ranges::pop_heap(heap_, worse);
    Choice& next = heap_.back();
    const DraftCandidate& c = candidates[next.candidate];
    ranking_.push_back(next.candidate);
    tokens += next.gain;
    const uint32_t fed = ++ranked_[next.candidate];
    if (fed < std::min(c.draft.tokens, kMaxDrafts)) {
      next.gain = Gain(c, fed, next.gain);
      std::ranges::push_heap(heap_, worse);
    } else {
      heap_.pop_back();
    }
    const double us = cost_.Us(step.rows + static_cast<uint32_t>(ranking_.size()));
    if (us - plain > balance_us_) break;
    if (tokens / us > best) {
      best = tokens / us;
      drafts = static_cast<uint32_t>(ranking_.size());
    }
  }
  return drafts;
}

void DraftPlanner::Plan(const PlainStep& step, std::span<const DraftCandidate> candidates,
                        std::vector<uint32_t>* counts) {
  counts->assign(candidates.size(), 0);
  if (since_plain_ >= kPlainEvery && cost_.Uncertain(step.rows)) return;
  const uint32_t drafts = Rank(step, candidates);
  for (uint32_t i = 0; i < drafts; ++i) ++(*counts)[ranking_[i]];
}

void DraftPlanner::ObserveDraft(const Draft& draft, uint32_t fed, uint32_t stood,
                                DraftRecord* record) {
  for (uint32_t i = 0; i < std::min(stood + 1, fed); ++i) {
    const double chance = Chance(draft.match + i);
    Tally& tally = tallies_[std::min<size_t>(draft.match + i, tallies_.size()) - 1];
    const double hit = i < stood ? 1 : 0;
    tally.stood += hit;
    tally.tried += 1;
    record->stood += hit - kForgetADraft * record->stood;
    record->expected += chance - kForgetADraft * record->expected;
  }
}

void DraftPlanner::ObserveStep(const PlainStep& step, uint32_t rows, uint32_t stood, double us) {
  us = cost_.Observe(rows, us);
  since_plain_ = rows > step.rows ? since_plain_ + 1 : 0;
  for (Tally& tally : tallies_) {
    tally.stood -= kForgetAStep * tally.stood;
    tally.tried -= kForgetAStep * tally.tried;
  }
  const double plain = cost_.Us(step.rows);
  balance_us_ += kShare * plain;
  if (rows > step.rows) balance_us_ += plain * stood / step.tokens - (us - plain);
  balance_us_ = std::min(balance_us_, kMost * plain);
}

}  // namespace precis
