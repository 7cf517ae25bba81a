// Drafts of all sequences: has a source look for them and a policy say how many are worth a row,
// holds them while they are verified and reports to both how they fared.
//
// Owner: the runner. Thread rule: the step thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/drafting/draft_policy.h"
#include "engine/drafting/draft_source.h"

namespace precis {

class Drafter {
 public:
  Drafter(uint32_t max_sequences, uint32_t max_rows, std::unique_ptr<DraftSource> source,
          std::unique_ptr<DraftPolicy> policy);

  // The arguments live until another sequence joins as `id`.
  void Join(SequenceId id, std::span<const int32_t> source_ids, const GenerationOptions& options);

  // Before a step: counts[i] drafts for decoding[i]. `rows`: of the step without drafts.
  void Propose(std::span<const SequenceId> decoding, uint32_t rows, uint32_t spare_rows,
               std::vector<uint32_t>* counts);
  // Token `draft` (from 1) of the last proposal.
  int32_t token(SequenceId id, uint32_t draft) const { return states_[id].tokens[draft - 1]; }

  // After a step: `fed` drafts were in it, the first `stood` of them stand, and now `tokens` are
  // the sequence's next ones.
  void Observe(SequenceId id, uint32_t fed, uint32_t stood, std::span<const int32_t> tokens);
  // Of the whole step, last.
  void ObserveStep(uint32_t rows, double us);

 private:
  struct State {
    bool drafts = false;
    Draft draft;
    DraftRecord record;
    std::array<int32_t, DraftPolicy::kMaxDrafts> tokens{};
  };

  const std::unique_ptr<DraftSource> source_;
  const std::unique_ptr<DraftPolicy> policy_;
  std::vector<State> states_;               // by SequenceId
  std::vector<DraftCandidate> candidates_;  // of the step under way
  PlainStep step_;
  uint32_t stood_ = 0;  // in the step under way
};

}  // namespace precis
