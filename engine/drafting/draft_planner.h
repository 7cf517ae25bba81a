// How many drafts each sequence gets: as many as make the step yield the most tokens a microsecond,
// by how often drafts stood so far and by what rows cost. What drafts cost is kept as a balance
// that may not go below zero, so that decoding is never much slower than without them, whatever the
// texts do.
//
// Owner: the drafter. Thread rule: the step thread. Depends on what it receives and nothing else.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/drafting/draft_policy.h"
#include "engine/drafting/step_cost.h"

namespace precis {

class DraftPlanner final : public DraftPolicy {
 public:
  DraftPlanner(uint32_t max_rows, StepCost cost);

  bool CanPay(const PlainStep& step) const override;
  void Plan(const PlainStep& step, std::span<const DraftCandidate> candidates,
            std::vector<uint32_t>* counts) override;
  void ObserveDraft(const Draft& draft, uint32_t fed, uint32_t stood, DraftRecord* record) override;
  void ObserveStep(const PlainStep& step, uint32_t rows, uint32_t stood, double us) override;

 private:
  struct Tally {
    double stood = 0;
    double tried = 0;
  };
  struct Choice {
    double gain;  // expected tokens of one more draft
    uint32_t candidate;
  };

  double Chance(uint32_t match) const;
  double Gain(const DraftCandidate& candidate, uint32_t drafts, double gain) const;
  uint32_t Rank(const PlainStep& step, std::span<const DraftCandidate> candidates);

  StepCost cost_;
  std::array<Tally, 8> tallies_{};  // by length of match
  double balance_us_;
  uint32_t since_plain_ = 0;       // steps since the last one without drafts
  std::vector<Choice> heap_;       // the next draft of each candidate
  std::vector<uint32_t> ranking_;  // candidates, a draft each, best first
  std::vector<uint32_t> ranked_;   // by candidate: drafts in the ranking
};

}  // namespace precis
