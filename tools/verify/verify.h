// Runs a checkpoint's golden.json (format: tests/golden/README.md) through the engine: encoder
// output, teacher-forced logits, greedy and beam ids. How users prove that their own checkpoint is
// served right. Called by `precis verify` and the golden tests; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/engine.h"
#include "kernels/dtype.h"
#include "kernels/row_kinds.h"

namespace precis {

// How far logits may be from the golden ones where something is rounded: what a simulation of the
// same roundings gives, by the rule of tests/golden/limits.json.
struct RoundedLimits {
  double mean;     // of the differences
  double largest;  // difference
  double share;    // of positions with the same best token
};
// Of weights and KV of these types, not both f32, in a model with this kind of norm.
RoundedLimits LimitsFor(DType weights, DType kv, NormKind norm);

struct VerifyOptions {
  EngineOptions engine;  // model_dir, backend, dtype ("auto" means f32 here), kv_dtype, isa
  bool mixed = false;    // all cases at once in one batch
};

struct VerifyCheck {
  std::string name;  // "length_33: greedy"
  bool passed = false;
  std::string detail;  // what was wrong, or how close it was
};

struct VerifyReport {
  std::vector<VerifyCheck> checks;
  uint32_t passed() const;
  uint32_t failed() const;
};

// NOT_FOUND where there is no golden.json; other errors are those of loading. A case that cannot be
// run is a failed check. `on_check` (may be empty) hears of each check as it is done.
StatusOr<VerifyReport> Verify(const VerifyOptions& options,
                              const std::function<void(const VerifyCheck&)>& on_check);

}  // namespace precis
