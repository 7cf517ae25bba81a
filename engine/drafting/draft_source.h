// Where drafted tokens come from: guesses of what a sequence says next. A guess is verified before
// it stands, so a source may guess anything; it costs time at most.
//
// Owner: the drafter. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>

#include "engine/api/generation.h"
#include "engine/sched/step_plan.h"

namespace precis {

struct Draft {
  uint32_t tokens = 0;  // guessed
  uint32_t match = 0;   // tokens of context that speak for it; at least 1 where there is a guess
};

class DraftSource {
 public:
  virtual ~DraftSource() = default;
  // The arguments live until another sequence joins as `id`. May allocate, the rest may not.
  virtual void Join(SequenceId id, std::span<const int32_t> source_ids,
                    const GenerationOptions& options) = 0;
  // `token` now stands after those before.
  virtual void Push(SequenceId id, int32_t token) = 0;
  // Fills out[0 .. tokens).
  virtual Draft Propose(SequenceId id, std::span<int32_t> out) = 0;
};

}  // namespace precis
