#include "cli/bench/bench.h"

#include <ostream>
#include <utility>

#include "cli/base/command.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis::cli {

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
  json["device"] = r.device;
  json["isa"] = r.isa;
  if (r.limit_s > 0) {
    json["encode_limit_s"] = Rounded(r.encode_limit_s, 4);
    json["limit_s"] = Rounded(r.limit_s, 4);
    json["step_limit_ms"] = Rounded(r.step_limit_ms(), 3);
    json["fraction_of_limit"] = Rounded(r.fraction_of_limit(), 3);
  }
  json["resident_bytes"] = r.resident_bytes;
  json["pool_bytes"] = r.pool_bytes;
  json["weight_bytes"] = r.weight_bytes;
  json["workspace_bytes"] = r.workspace_bytes;
  json["resident_bound_bytes"] = r.resident_bound_bytes();
  json["resident_holds"] = r.resident_holds();
  json["load_s"] = Rounded(r.load_s, 3);
  return json.dump();
}

std::string LatencyProfile(const LatencyResult& r) {
  const std::string title = fmt::format("{}x{} {} kv {}, {} threads", r.of.batch, r.of.beams,
                                        r.dtype, r.kv_type, r.threads);
  return ProfileTable(title, r.profile, r.machine);
}

int RunBenchLatency(LatencyOptions options, const std::string& cases, const BenchLook& look,
                    const LatencyBench& bench, std::ostream& out, std::ostream& err) {
  StatusOr<std::vector<BenchCase>> parsed = ParseBenchCases(cases);
  if (!parsed.ok()) {
    TellError(parsed.status(), err);
    return kExitUsage;
  }
  options.cases = *std::move(parsed);
  ProgressBar bar(look, err);
  const auto print = [&](const LatencyResult& result) {
    bar.Clear();
    out << LatencyJson(result) << "\n" << std::flush;
    if (look.profile) err << LatencyProfile(result) << std::flush;
  };
  const Status status = bench(options, print, bar.listener());
  bar.Clear();
  if (status.ok()) return kExitOk;
  TellError(status, err);
  return kExitFailed;
}

}  // namespace precis::cli
