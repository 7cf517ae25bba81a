#include "cli/bench/bench_throughput.h"

#include <ostream>
#include <utility>

#include "cli/base/command.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis::cli {

std::string ThroughputJson(const ThroughputResult& r) {
  nlohmann::ordered_json json;
  json["engine"] = "precis";
  json["type"] = r.dtype;
  json["model"] = r.model;
  json["threads"] = r.threads;
  json["batch"] = r.batch;
  json["documents"] = r.documents;
  json["source_tokens"] = r.source_tokens;
  json["new_tokens"] = r.new_tokens;
  json["encode_s"] = Rounded(r.encode_s, 4);
  json["wall_s"] = Rounded(r.total_s, 4);
  json["documents_per_s"] = Rounded(r.documents_per_s(), 3);
  json["source_tokens_per_s"] = Rounded(r.source_tokens_per_s(), 1);
  json["new_tokens_per_s"] = Rounded(r.new_tokens_per_s(), 1);
  json["mean_batch"] = Rounded(r.mean_batch, 2);
  json["kv_type"] = r.kv_type;
  json["device"] = r.device;
  json["isa"] = r.isa;
  if (r.limit_s > 0) {
    json["encode_limit_s"] = Rounded(r.encode_limit_s, 4);
    json["limit_s"] = Rounded(r.limit_s, 4);
    json["fraction_of_limit"] = Rounded(r.fraction_of_limit(), 3);
  }
  json["peak_resident_bytes"] = r.peak_resident_bytes;
  json["pool_bytes"] = r.pool_bytes;
  json["weight_bytes"] = r.weight_bytes;
  json["load_s"] = Rounded(r.load_s, 3);
  return json.dump();
}

int RunBenchThroughput(ThroughputOptions options, const std::string& trace_file,
                       const BenchLook& look, const ThroughputBench& bench, std::ostream& out,
                       std::ostream& err) {
  auto trace = trace_file.empty() ? DefaultTrace() : ReadTrace(trace_file);
  if (!trace.ok()) {
    TellError(trace.status(), err);
    return kExitUsage;
  }
  options.trace = *std::move(trace);
  ProgressBar bar(look, err);
  const StatusOr<ThroughputResult> result = bench(options, bar.listener());
  bar.Clear();
  if (!result.ok()) {
    TellError(result.status(), err);
    return kExitFailed;
  }
  out << ThroughputJson(*result) << "\n" << std::flush;
  if (look.profile) {
    const std::string title =
        fmt::format("{} documents, batch {}, {} kv {}, {} threads", result->documents,
                    result->batch, result->dtype, result->kv_type, result->threads);
    err << ProfileTable(title, result->profile, result->machine) << std::flush;
  }
  return kExitOk;
}

}  // namespace precis::cli
