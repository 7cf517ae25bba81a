#include "cli/bench.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <utility>

#include "cli/command.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis::cli {
namespace {

constexpr size_t kBarWidth = 24;
constexpr const char* kClearLine = "\r\x1b[K";

double Rounded(double value, int digits) {
  const double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

std::string BarOf(const BenchProgress& progress) {
  const double done = (static_cast<double>(progress.case_index) + progress.fraction) /
                      static_cast<double>(std::max<size_t>(progress.num_cases, 1));
  const auto filled = static_cast<size_t>(std::clamp(done, 0.0, 1.0) * kBarWidth);
  return fmt::format("{}[{}{}] {}x{}: {}", kClearLine, std::string(filled, '#'),
                     std::string(kBarWidth - filled, '.'), progress.of.batch, progress.of.beams,
                     progress.what);
}

}  // namespace

std::string LatencyJson(const LatencyResult& r) {
  nlohmann::ordered_json json;
  json["engine"] = "precis";
  json["type"] = r.dtype;
  json["model"] = r.model;
  json["threads"] = r.threads;
  json["batch"] = r.of.batch;
  json["beams"] = r.of.beams;
  json["source"] = r.source_tokens;
  json["new"] = r.new_tokens;
  json["encode_s"] = Rounded(r.encode_s, 4);
  json["total_s"] = Rounded(r.total_s, 4);
  json["step_ms"] = Rounded(r.step_ms(), 3);
  json["new_tokens_per_s"] = Rounded(r.new_tokens_per_s(), 1);
  json["kv_type"] = r.kv_type;
  json["isa"] = r.isa;
  json["encode_limit_s"] = Rounded(r.encode_limit_s, 4);
  json["limit_s"] = Rounded(r.limit_s, 4);
  json["step_limit_ms"] = Rounded(r.step_limit_ms(), 3);
  json["fraction_of_limit"] = Rounded(r.fraction_of_limit(), 3);
  json["resident_bytes"] = r.resident_bytes;
  json["pool_bytes"] = r.pool_bytes;
  json["weight_bytes"] = r.weight_bytes;
  return json.dump();
}

std::string LatencyProfile(const LatencyResult& r) {
  std::string out = fmt::format("{}x{} {} kv {}, {} threads\n", r.of.batch, r.of.beams, r.dtype,
                                r.kv_type, r.threads);
  out +=
      fmt::format("{:<7} {:<18} {:>6} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>7}\n", "phase", "op",
                  "count", "ms", "best ms", "limit ms", "fraction", "of best", "GFLOP/s", "GB/s");
  const auto line = [&out](const OpProfile& op) {
    const auto per_second = [&op](uint64_t amount) {
      return op.seconds > 0 ? static_cast<double>(amount) / op.seconds * 1e-9 : 0.0;
    };
    const auto share = [&op](double seconds) {
      return seconds > 0 ? op.limit_seconds / seconds : 0.0;
    };
    out += fmt::format(
        "{:<7} {:<18} {:>6} {:>9.3f} {:>9.3f} {:>9.3f} {:>8.3f} {:>8.3f} {:>8.1f} {:>7.1f}\n",
        op.phase, op.op, op.count, op.seconds * 1e3, op.best_seconds * 1e3, op.limit_seconds * 1e3,
        share(op.seconds), share(op.best_seconds), per_second(op.flops), per_second(op.bytes));
  };
  OpProfile all;
  all.phase = "all";
  for (const OpProfile& op : r.profile) {
    line(op);
    all.count += op.count;
    all.seconds += op.seconds;
    all.best_seconds += op.best_seconds;
    all.limit_seconds += op.limit_seconds;
    all.flops += op.flops;
    all.bytes += op.bytes;
  }
  line(all);
  out += "measured:";
  for (size_t i = 0; i < r.machine.size(); ++i) {
    const MachineFigure& figure = r.machine[i];
    out +=
        fmt::format("{} {} {:.4g} {}", i == 0 ? "" : ";", figure.name, figure.value, figure.unit);
  }
  return out + "\n\n";
}

int RunBenchLatency(LatencyOptions options, const std::string& cases, const BenchLook& look,
                    const LatencyBench& bench, std::ostream& out, std::ostream& err) {
  const auto tell = [&err](const Status& status) {
    err << "precis: " << std::string(status.message()) << "\n";
  };
  StatusOr<std::vector<BenchCase>> parsed = ParseBenchCases(cases);
  if (!parsed.ok()) {
    tell(parsed.status());
    return kExitUsage;
  }
  options.cases = *std::move(parsed);
  const auto clear = [&] {
    if (look.terminal) err << kClearLine << std::flush;
  };
  const auto print = [&](const LatencyResult& result) {
    clear();
    out << LatencyJson(result) << "\n" << std::flush;
    if (look.profile) err << LatencyProfile(result) << std::flush;
  };
  std::function<void(const BenchProgress&)> progress;
  if (look.terminal) {
    progress = [&err](const BenchProgress& p) { err << BarOf(p) << std::flush; };
  }
  const Status status = bench(options, print, progress);
  clear();
  if (status.ok()) return kExitOk;
  tell(status);
  return kExitFailed;
}

}  // namespace precis::cli
