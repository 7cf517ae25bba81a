// How many drafts each sequence of a step gets. Texts do not depend on the answer, only time does.
//
// Owner: the drafter. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/drafting/draft_source.h"

namespace precis {

// How the drafts of one sequence fared against what was to be expected; recent ones count more.
struct DraftRecord {
  double stood = 0;
  double expected = 0;
};

struct DraftCandidate {
  Draft draft;  // of no tokens: there is nothing to feed
  DraftRecord record;
};

// A step as it would be without drafts.
struct PlainStep {
  uint32_t rows = 0;
  uint32_t tokens = 0;  // one a sequence
  uint32_t spare_rows = 0;
};

class DraftPolicy {
 public:
  // Drafts of one sequence in a step, at most.
  static constexpr uint32_t kMaxDrafts = 15;

  virtual ~DraftPolicy() = default;
  // False where drafts cannot pay even if all stand: no need to look for any.
  virtual bool CanPay(const PlainStep& step) const = 0;
  // (*counts)[i]: drafts of candidate i, at most those it has. Allocates nothing where counts has
  // the room.
  virtual void Plan(const PlainStep& step, std::span<const DraftCandidate> candidates,
                    std::vector<uint32_t>* counts) = 0;

  // Of a draft of which `fed` tokens were fed and the first `stood` of them stand.
  virtual void ObserveDraft(const Draft& draft, uint32_t fed, uint32_t stood,
                            DraftRecord* record) = 0;
  // Of a step that had `rows` rows, of which `stood` were drafts that stand.
  virtual void ObserveStep(const PlainStep& step, uint32_t rows, uint32_t stood, double us) = 0;
};

}  // namespace precis
