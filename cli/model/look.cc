#include "cli/model/look.h"

#include <algorithm>
#include <cmath>
#include <ostream>

#include "fmt/format.h"

namespace precis::cli {
namespace {

constexpr size_t kBarWidth = 24;
constexpr const char* kClearLine = "\r\x1b[K";

std::string BarOf(const BenchProgress& progress) {
  const double done = (static_cast<double>(progress.case_index) + progress.fraction) /
                      static_cast<double>(std::max<size_t>(progress.num_cases, 1));
  const auto filled = static_cast<size_t>(std::clamp(done, 0.0, 1.0) * kBarWidth);
  return fmt::format("{}[{}{}] {}: {}", kClearLine, std::string(filled, '#'),
                     std::string(kBarWidth - filled, '.'), progress.name, progress.what);
}

}  // namespace

double Rounded(double value, int digits) {
  const double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

std::function<void(const BenchProgress&)> ProgressBar::listener() {
  if (!terminal_) return {};
  return [this](const BenchProgress& p) { err_ << BarOf(p) << std::flush; };
}

void ProgressBar::Clear() {
  if (terminal_) err_ << kClearLine << std::flush;
}

std::string ProfileTable(const std::string& title, const std::vector<OpProfile>& profile,
                         const std::vector<MachineFigure>& machine) {
  std::string out = title + "\n";
  if (profile.empty()) return out + "no profile: ops of this device are done after they return\n\n";
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
  for (const OpProfile& op : profile) {
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
  for (size_t i = 0; i < machine.size(); ++i) {
    const MachineFigure& figure = machine[i];
    out +=
        fmt::format("{} {} {:.4g} {}", i == 0 ? "" : ";", figure.name, figure.value, figure.unit);
  }
  return out + "\n\n";
}

void TellError(const Status& status, std::ostream& err) {
  err << "precis: " << std::string(status.message()) << "\n";
}

}  // namespace precis::cli
