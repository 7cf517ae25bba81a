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
  std::string out = fmt::format(
      "{}x{} {} kv {}\n{:<7} {:<20} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8}\n", r.of.batch, r.of.beams,
      r.dtype, r.kv_type, "phase", "op", "count", "ms", "limit ms", "fraction", "GFLOP/s", "GB/s");
  double seconds = 0;
  double limit = 0;
  const auto line = [&out](const std::string& phase, const std::string& op, uint64_t count,
                           double s, double limit_s) {
    out += fmt::format("{:<7} {:<20} {:>7} {:>9.3f} {:>9.3f} {:>8.3f}", phase, op, count, s * 1e3,
                       limit_s * 1e3, s > 0 ? limit_s / s : 0.0);
  };
  for (const OpProfile& op : r.profile) {
    line(op.phase, op.op, op.count, op.seconds, op.limit_seconds);
    if (op.seconds > 0 && op.bytes > 0) {
      out += fmt::format(" {:>8.1f} {:>8.1f}", static_cast<double>(op.flops) / op.seconds * 1e-9,
                         static_cast<double>(op.bytes) / op.seconds * 1e-9);
    }
    out += "\n";
    seconds += op.seconds;
    limit += op.limit_seconds;
  }
  line("all", "", 1, seconds, limit);
  out += "\nmeasured:";
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
