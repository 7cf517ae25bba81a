#include "tools/bench/profile.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>

#include "fmt/format.h"
#include "kernels/own_thread.h"
#include "tools/bench/limit/measure_machine.h"

namespace precis {
namespace {

constexpr BenchPhase kPhases[] = {BenchPhase::kEncode, BenchPhase::kDecode};

const char* PhaseName(BenchPhase phase) {
  return phase == BenchPhase::kEncode ? "encode" : "decode";
}

OpProfile Outside(const std::string& phase, uint64_t count, double seconds) {
  OpProfile outside;
  outside.phase = phase;
  outside.op = "outside ops";
  outside.count = count;
  outside.seconds = outside.best_seconds = seconds;
  return outside;
}

// By name of the op; the slowest first.
std::vector<OpProfile> OpsOf(BenchPhase phase, const PhaseRecord& record,
                             const MachineFigures& figures) {
  const uint64_t working_set = record.WorkingSetBytes();
  std::map<std::string, OpProfile> by_name;
  for (const auto& [cost, total] : record.ops) {
    OpProfile& op = by_name[OpName(cost)];
    op.count += total.count;
    op.seconds += total.seconds;
    op.best_seconds += static_cast<double>(total.count) * total.fastest_s;
    op.limit_seconds +=
        static_cast<double>(total.count) * OpLimitSeconds(cost, working_set, figures);
    op.flops += cost.flops * total.count;
    op.bytes += cost.bytes() * total.count;
  }
  std::vector<OpProfile> ops;
  for (auto& [name, op] : by_name) {
    op.phase = PhaseName(phase);
    op.op = name;
    ops.push_back(std::move(op));
  }
  std::ranges::stable_sort(ops, std::greater<>(), &OpProfile::seconds);
  return ops;
}

// Of each phase its ops, the slowest first, and then what lies outside of them.
std::vector<OpProfile> ProfileOf(const RunRecord& record, const RunTimes& times,
                                 const MachineFigures& figures) {
  std::vector<OpProfile> out;
  double all_s = 0;
  for (const BenchPhase phase : kPhases) {
    const double phase_s = times.phases.seconds[static_cast<size_t>(phase)];
    double ops_s = 0;
    for (OpProfile& op : OpsOf(phase, record.of(phase), figures)) {
      ops_s += op.seconds;
      out.push_back(std::move(op));
    }
    out.push_back(Outside(PhaseName(phase), record.of(phase).passes, phase_s - ops_s));
    all_s += phase_s;
  }
  out.push_back(Outside("engine", 1, times.total_s - all_s));
  return out;
}

std::vector<MachineFigure> ListFigures(const RunRecord& record, const MachineFigures& figures) {
  std::vector<MachineFigure> out = {{"fork-join", figures.fork_join_s * 1e6, "us"}};
  for (const ReadRate& rate : figures.read_rates) {
    out.push_back({fmt::format("read {} KiB", rate.working_set_bytes >> 10),
                   rate.bytes_per_s * 1e-9, "GB/s"});
  }
  for (const auto& [key, flops_per_s] : figures.gemm_peaks) {
    out.push_back({fmt::format("gemm {} M={}", DTypeName(key.dtype), key.rows), flops_per_s * 1e-9,
                   "GFLOP/s"});
  }
  for (const BenchPhase phase : kPhases) {
    const auto bytes = static_cast<double>(record.of(phase).WorkingSetBytes());
    out.push_back({fmt::format("{} working set", PhaseName(phase)), bytes / (1 << 20), "MiB"});
  }
  return out;
}

}  // namespace

bool HasMachineLimit(std::string_view device) { return device != "cuda"; }

Status ProfileOnMachine(const RunRecord& record, const RunTimes& times, const std::string& isa,
                        MachineFigures* figures, MeasuredRun* run) {
  const BackendOptions backend{run->device, isa, run->threads};
  PRECIS_RETURN_IF_ERROR(OnOwnThread([&] { return MeasureFor(record, backend, figures); }));
  run->encode_limit_s = PhaseLimitSeconds(record.of(BenchPhase::kEncode), *figures);
  run->limit_s = run->encode_limit_s + PhaseLimitSeconds(record.of(BenchPhase::kDecode), *figures);
  run->profile = ProfileOf(record, times, *figures);
  run->machine = ListFigures(record, *figures);
  return OkStatus();
}

}  // namespace precis
