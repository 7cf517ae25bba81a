#include "tools/bench/limit/op_recorder.h"

#include <algorithm>

namespace precis {

uint64_t PhaseRecord::WorkingSetBytes() const {
  uint64_t bytes = 0;
  for (const auto& [matrix, matrix_bytes] : matrices) bytes += matrix_bytes;
  uint64_t others = 0;
  for (const auto& [cost, total] : ops) {
    if (cost.kind != OpKind::kGemm) others += cost.streamed_bytes * total.count;
  }
  return bytes + (passes > 0 ? others / passes : others);
}

// What an op costs is asked for only while something depends on it.
bool OpRecorder::Begin(const OpCall& op) {
  if (record_ == nullptr && computes_) return true;
  cost_ = CostOf(op);
  start_ = clock_.Now();
  return computes_ || !cost_;
}

void OpRecorder::End(const OpCall& op) {
  if (record_ == nullptr && computes_) return;
  const double took = Seconds(clock_.Now() - start_);
  if (const auto* scores = op.As<ReduceScoresParams>(); scores != nullptr && !computes_) {
    for (ScoreReduction& row : scores->rows) {
      row.best[0] = {0, 0};
      row.num_best = 1;
    }
  }
  if (record_ == nullptr || !cost_) return;
  PhaseRecord::Total& total = record_->of(phase_).ops[*cost_];
  total.fastest_s = total.count == 0 ? took : std::min(total.fastest_s, took);
  ++total.count;
  total.seconds += took;
  if (const PackedMatrix* w = MatrixOf(op); w != nullptr) {
    record_->of(phase_).matrices[w] = uint64_t{w->n()} * w->k() * ElementBytes(w->dtype());
  }
}

}  // namespace precis
