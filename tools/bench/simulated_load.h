// Load on an engine whose time is simulated: its scheduler, its pages and its pace are the real
// ones, requests come and tokens go at times of a clock that only the runner's steps and the wait
// for the next arrival move. No thread, no noise: the same arguments give the same outcomes.
//
// Owner: a benchmark. Thread rule: one thread.
#pragma once

#include <functional>
#include <vector>

#include "common/status.h"
#include "engine/engine.h"
#include "engine/run/model_runner.h"
#include "tools/bench/limit/simulated_clock.h"
#include "tools/bench/load.h"

namespace precis {

// As RunLoad() on an engine of `options` around `runner`, which advances `clock` by what each step
// takes. Nothing waits before and nothing is left after. Requires that no request needs more pages
// than there are, and no more requests than options.max_sequences.
StatusOr<std::vector<LoadOutcome>> SimulateLoad(const EngineOptions& options, ModelRunner& runner,
                                                SimulatedClock& clock,
                                                const std::vector<LoadRequest>& requests,
                                                const std::vector<double>& due_s, double limit_s,
                                                const std::function<void(size_t)>& on_ended);

}  // namespace precis
