#include "cli/bench/bench_serving.h"

#include <charconv>
#include <ostream>
#include <utility>

#include "cli/base/command.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis::cli {
namespace {

nlohmann::ordered_json LineOf(const ServedModel& model, const char* kind) {
  nlohmann::ordered_json json;
  json["engine"] = model.engine;
  json["model"] = model.model;
  json["numerics"] = model.numerics;
  json["kind"] = kind;
  return json;
}

void AddPercentiles(const std::string& name, const Percentiles& p, nlohmann::ordered_json* json) {
  (*json)[name + "_p50_ms"] = Rounded(p.p50 * 1e3, 3);
  (*json)[name + "_p95_ms"] = Rounded(p.p95 * 1e3, 3);
  (*json)[name + "_p99_ms"] = Rounded(p.p99 * 1e3, 3);
}

}  // namespace

StatusOr<std::vector<double>> ParseRates(std::string_view text) {
  std::vector<double> rates;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    double rate = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), rate);
    if (error != std::errc() || end != part.data() + part.size() || !(rate > 0)) {
      return InvalidArgument(fmt::format(
          "--rates: '{}' is no rate; rates are requests a second, as in 1,2.5,4", part));
    }
    rates.push_back(rate);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return InvalidArgument("--rates ends with a comma");
  }
  return rates;
}

std::string ServingJson(const ServedModel& model, const ServingResult& r) {
  const bool unloaded = r.offered_per_s == 0;
  nlohmann::ordered_json json = LineOf(model, unloaded ? "unloaded" : "rate");
  if (!unloaded) {
    json["offered_per_s"] = Rounded(r.offered_per_s, 3);
    json["achieved_per_s"] = Rounded(r.achieved_per_s, 3);
  }
  json["requests"] = r.requests;
  if (!unloaded) json["unfinished"] = r.unfinished;
  json["wall_s"] = Rounded(r.wall_s, 3);
  AddPercentiles("total", r.total_s, &json);
  json["total_mean_ms"] = Rounded(r.mean_total_s * 1e3, 3);
  AddPercentiles("first_token", r.first_token_s, &json);
  AddPercentiles("inter_token", r.inter_token_s, &json);
  if (unloaded) {
    json["load_s"] = Rounded(model.load_s, 3);
  } else {
    json["p95_over_unloaded"] = Rounded(r.p95_over_unloaded, 3);
    json["slowdown_p95"] = Rounded(r.slowdown_p95, 3);
    json["holds"] = r.holds;
  }
  return json.dump();
}

std::string ServingSummaryJson(const ServedModel& model, const ServingSummary& s) {
  nlohmann::ordered_json json = LineOf(model, "summary");
  if (s.highest_per_s) json["highest_per_s"] = Rounded(*s.highest_per_s, 3);
  if (s.limit_per_s > 0) {
    json["offline_per_s"] = Rounded(s.offline_per_s, 3);
    json["limit_per_s"] = Rounded(s.limit_per_s, 3);
  }
  if (s.limit_rate > 0) {
    json["limit_rate"] = Rounded(s.limit_rate, 3);
    json["limit_unloaded_p95_ms"] = Rounded(s.limit_unloaded_p95_s * 1e3, 3);
    if (s.highest_per_s) json["fraction_of_limit"] = Rounded(s.fraction_of_limit(), 3);
  }
  return json.dump();
}

int RunBenchServing(ServingOptions options, const std::string& rates, const std::string& trace_file,
                    const BenchLook& look, const ServingBench& bench, std::ostream& out,
                    std::ostream& err) {
  auto parsed = ParseRates(rates);
  auto trace = trace_file.empty() ? DefaultTrace() : ReadTrace(trace_file);
  if (!parsed.ok() || !trace.ok()) {
    TellError(parsed.ok() ? trace.status() : parsed.status(), err);
    return kExitUsage;
  }
  options.rates = *std::move(parsed);
  options.trace = *std::move(trace);
  ProgressBar bar(look, err);
  ServedModel model;
  const auto on_loaded = [&](const ServedModel& loaded) { model = loaded; };
  const auto print = [&](const ServingResult& result) {
    bar.Clear();
    out << ServingJson(model, result) << "\n" << std::flush;
  };
  const StatusOr<ServingSummary> summary = bench(options, on_loaded, print, bar.listener());
  bar.Clear();
  if (!summary.ok()) {
    TellError(summary.status(), err);
    return kExitFailed;
  }
  if (summary->highest_per_s || summary->limit_per_s > 0) {
    out << ServingSummaryJson(model, *summary) << "\n" << std::flush;
  }
  return kExitOk;
}

}  // namespace precis::cli
