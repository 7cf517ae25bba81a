// A recorded run as people read it: ops of one name together, with their limits, and the figures of
// the machine. Thread rule: pure functions.
#pragma once

#include <vector>

#include "engine/bench.h"
#include "engine/bench/machine_limit.h"
#include "engine/bench/measured_engine.h"

namespace precis {

// Of each phase its ops, the slowest first, and then what lies outside of them.
std::vector<OpProfile> ProfileOf(const RunRecord& record, const RunTimes& times,
                                 const MachineFigures& figures);

std::vector<MachineFigure> ListFigures(const RunRecord& record, const MachineFigures& figures);

}  // namespace precis
