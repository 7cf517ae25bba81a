#include "server/startup.h"

#include <cstdio>
#include <fstream>
#include <string>

#include "common/log.h"
#include "engine/api/machine.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"

namespace precis {
namespace {

double MiB(uint64_t bytes) { return static_cast<double>(bytes) / (1u << 20); }

// Whose word a setting is: the operator's, or ours.
std::string Why(const std::string& setting) {
  return setting == "auto" ? "chosen for this machine" : fmt::format("asked for: {}", setting);
}

const char* WhyPool(uint64_t asked_bytes, const std::string& device) {
  if (asked_bytes != 0) return "asked for";
  return device == "cuda" ? "what the device has free after weights, less a fifth"
                          : "what the memory limit leaves after weights, less a fifth";
}

void LogFromGrpc(gpr_log_func_args* args) {
  // What gRPC calls an error is mostly a client's doing: a warning to us.
  const auto level =
      args->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::warn : spdlog::level::debug;
  spdlog::log(level, "grpc: {}", args->message);
}

void LogFromProtobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  spdlog::debug("protobuf: {}", message);
}

}  // namespace

void RouteLibraryLogs() {
  gpr_set_log_function(LogFromGrpc);
  google::protobuf::SetLogHandler(LogFromProtobuf);
}

void LogModel(const ServerOptions& options, const ModelInfo& m) {
  const EngineOptions& e = options.engine;
  spdlog::info("model {} from {}: {}, attention {}, fingerprint {}", m.name, e.model_dir,
               m.architecture, m.attention_variant, m.fingerprint);
  spdlog::info("{} + {} layers, d_model {}, {} heads of {}, KV heads self [{}] cross [{}]",
               m.encoder.layers, m.decoder.layers, m.d_model, m.decoder.num_heads,
               m.decoder.head_dim, fmt::join(m.self_kv_heads, " "),
               fmt::join(m.cross_kv_heads, " "));
  for (const std::string& line : m.folded) spdlog::info("folded: {}", line);
  for (const std::string& line : m.defaults.unsupported) {
    spdlog::warn("not honoured, requests must do without: {}", line);
  }
  spdlog::info(
      "numerics: {} (device {}; ISA {}; weights {}; KV {}; threads {})", m.numerics, m.device,
      Why(e.isa), Why(e.dtype), Why(e.kv_dtype),
      e.threads == 0 ? "from affinity and cgroup quota" : fmt::format("asked for: {}", e.threads));
  if (const uint32_t cpus = DetectCpus(); e.threads > cpus) {
    spdlog::warn("--threads {}: more than the {} CPUs that this process may use, which is slower",
                 e.threads, cpus);
  }
  spdlog::info("kernels: {}", m.kernels);
  spdlog::info(
      "memory: weights {:.1f} MiB; pool {:.1f} MiB = {} pages of {} bytes ({}); a page holds {} "
      "self or {} cross tokens ({} and {} bytes each)",
      MiB(m.weight_bytes), MiB(m.pool_bytes), m.pool_pages, m.page_bytes,
      WhyPool(e.pool_bytes, m.device), m.self_slots, m.cross_slots, m.self_bytes_per_token,
      m.cross_bytes_per_token);
  spdlog::info(
      "limits: batch {}, sequences {}, source {} tokens, summary {} tokens, queue {} requests and "
      "{} tokens",
      e.max_batch, e.max_sequences, e.max_source_tokens, e.max_new_tokens, options.max_queue,
      options.max_queue_tokens);
}

std::string Verdict(const ServerOptions& options, const ModelInfo& model) {
  return fmt::format("ok: {} can be served as {} ({})\n", options.engine.model_dir, model.name,
                     model.numerics);
}

Status WritePortFile(const std::string& path, int port, int metrics_port, int health_port) {
  if (path.empty()) return OkStatus();
  const std::string partial = path + ".partial";
  {
    std::ofstream file(partial, std::ios::trunc);
    file << fmt::format("grpc={}\nmetrics={}\n", port, metrics_port);
    if (health_port != 0) file << fmt::format("health={}\n", health_port);
    if (!file.flush()) return Unavailable(fmt::format("--port-file: cannot write {}", partial));
  }
  if (std::rename(partial.c_str(), path.c_str()) != 0) {
    return Unavailable(fmt::format("--port-file: cannot write {}", path));
  }
  return OkStatus();
}

}  // namespace precis
