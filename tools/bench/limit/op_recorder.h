// An observer that writes down, between two calls of RecordInto(), what every op of a backend must
// cost (tools/bench/limit/op_cost.h) and how long it took.
//
// Owner: whoever measures; it outlives the runner whose backend it observes. Thread rule: the
// thread of the ops; RecordInto() and StopComputing() while no op runs.
#pragma once

#include <map>
#include <optional>

#include "common/clock.h"
#include "kernels/op_observer.h"
#include "tools/bench/limit/op_cost.h"

namespace precis {

enum class BenchPhase : uint8_t { kEncode, kDecode };

// What was recorded of one phase: ops of one cost together.
struct PhaseRecord {
  struct Total {
    uint64_t count = 0;
    double seconds = 0;
    double fastest_s = 0;  // one op
  };
  std::map<OpCost, Total> ops;
  std::map<const PackedMatrix*, uint64_t> matrices;  // that were used, and their bytes
  // Documents encoded, or decode steps: what is streamed again in each.
  uint64_t passes = 0;

  // Bytes that are streamed from one use of them to the next: all matrices, and a pass's share of
  // pages and embedding.
  uint64_t WorkingSetBytes() const;
};

struct RunRecord {
  PhaseRecord phases[2];  // [BenchPhase]
  PhaseRecord& of(BenchPhase phase) { return phases[static_cast<size_t>(phase)]; }
  const PhaseRecord& of(BenchPhase phase) const { return phases[static_cast<size_t>(phase)]; }
};

class OpRecorder final : public OpObserver {
 public:
  // Records what follows into `record`, which outlives it; nullptr: nothing.
  void RecordInto(RunRecord* record) { record_ = record; }
  void SetPhase(BenchPhase phase) { phase_ = phase; }
  // From now on ops that cost anything are written down and not run: what they should have computed
  // is whatever lies there, and the best token of every row is the first of the vocabulary.
  void StopComputing() { computes_ = false; }

  bool Begin(const OpCall& op) override;
  void End(const OpCall& op) override;

 private:
  const SteadyClock clock_{};
  RunRecord* record_ = nullptr;
  BenchPhase phase_ = BenchPhase::kEncode;
  bool computes_ = true;
  // Of the op under way.
  std::optional<OpCost> cost_;
  TimePoint start_;
};

}  // namespace precis
