#include "cli/model/convert.h"

#include <algorithm>
#include <ostream>
#include <vector>

#include "cli/base/command.h"
#include "cli/model/inspect.h"
#include "engine/api/machine.h"
#include "fmt/format.h"

namespace precis::cli {
namespace {

constexpr size_t kShownBytes = 42;  // of a tensor's name: a bar that wraps cannot be wiped

std::string Line(const char* name, const std::string& value) {
  return fmt::format("{:<14} {}\n", name, value);
}

std::string Percent(double share) { return share < 0 ? "" : fmt::format("{:.2f} %", 100 * share); }

// Whole numbers of KV heads a layer; the CSV has every step between them.
std::string CurveTable(const ConvertReport& report) {
  std::string out = fmt::format("{:>8} {:>12} {:>11} {:>11} {:>11} {:>11}\n", "KV heads",
                                "bytes/token", "self error", "as GQA", "cross error", "as GQA");
  for (const CapacityPoint& point : report.curve) {
    if (point.kv_heads != static_cast<double>(static_cast<uint32_t>(point.kv_heads))) continue;
    out +=
        fmt::format("{:>8} {:>12} {:>11} {:>11} {:>11} {:>11}\n", point.kv_heads,
                    point.bytes_per_token, Percent(point.self_error), Percent(point.gqa_self_error),
                    Percent(point.cross_error), Percent(point.gqa_cross_error));
  }
  return out;
}

std::string GoldenHint(const ConvertOptions& options) {
  if (options.fold.empty()) {
    return "its answers are the source's, not those of the result, which is to be trained further; "
           "python/recipes/golden.py makes one of an MHA result";
  }
  return "folding changes no answer: copy it, and precis verify must pass";
}

}  // namespace

std::string FormatConversion(const ConvertOptions& options, const ConvertReport& report) {
  std::string out;
  if (!report.curve.empty()) out += CurveTable(report) + "\n";
  out += Line("written", options.destination);
  out += Line("attention", fmt::format("{}, was {}", report.variant, report.source_variant));
  out += Line("query heads", fmt::format("{}", report.num_heads));
  out += Line("KV heads self", HeadsByLayer(report.self_kv_heads));
  out += Line("KV heads cross", HeadsByLayer(report.cross_kv_heads));
  out += Line("source token", fmt::format("{} of keys and values in {} (MHA: {})",
                                          HumanBytes(report.source_token_bytes), report.kv_dtype,
                                          HumanBytes(report.mha_token_bytes)));
  out += Line("new token", HumanBytes(report.new_token_bytes));
  if (!report.curve.empty()) out += Line("curve", "qcqa_curve.csv, qcqa_curve.svg, beside it");
  for (const std::string& name : report.not_copied) {
    const bool golden = name == "golden.json";
    out += Line("not copied", golden ? name + ": " + GoldenHint(options) : name);
  }
  return out;
}

int RunConvert(ConvertOptions options, bool terminal, const Converter& convert, std::ostream& out,
               std::ostream& err) {
  StatusOr<ConvertReport> report = absl::UnknownError("not run");
  {
    ProgressBar bar(BenchLook{.profile = false, .terminal = terminal}, err);
    if (const auto listener = bar.listener()) {
      options.on_progress = [listener](const ConvertProgress& p) {
        listener({p.phase, p.num_phases, "convert", p.what.substr(0, kShownBytes), p.fraction});
      };
    }
    report = convert(options);
  }
  if (!report.ok()) {
    TellError(report.status(), err);
    return kExitFailed;
  }
  out << FormatConversion(options, *report) << std::flush;
  return kExitOk;
}

}  // namespace precis::cli
