// A recorded run as people read it: ops of one name together, with their limits, and the figures of
// the machine. Thread rule: one thread; all cores are used meanwhile.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "tools/bench/latency.h"
#include "tools/bench/limit/machine_limit.h"
#include "tools/bench/measured_engine.h"

namespace precis {

// Whether runs on `device` have a limit and a profile. cuda has none: its ops are done after they
// return, and rates are measured in the CPU's memory.
bool HasMachineLimit(std::string_view device);

// Fills in the run's limit, its profile (of each phase the slowest op first, then what lies outside
// of them) and the machine's figures. Measures what `record` needs of the machine, as far as
// `figures` lack it, by a backend of its own on a thread of its own, with the device and as many
// threads as the run had and the `isa` that was asked for; no engine may be running.
Status ProfileOnMachine(const RunRecord& record, const RunTimes& times, const std::string& isa,
                        MachineFigures* figures, MeasuredRun* run);

}  // namespace precis
