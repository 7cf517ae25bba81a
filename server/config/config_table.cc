#include "server/config/config_table.h"

#include <charconv>
#include <initializer_list>
#include <limits>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis {
namespace {

constexpr char kModel[] = "Model and numbers";
constexpr char kMemory[] = "Memory and batching";
constexpr char kNetwork[] = "Network";
constexpr char kSecurity[] = "Security";
constexpr char kRequests[] = "Requests";
constexpr char kProcess[] = "Process";

// A row is made from a function that gives the option's place in ServerOptions.
template <typename Place>
ConfigRow Text(std::string key, std::string group, std::string help, Place place,
               std::vector<std::string> choices = {}) {
  ConfigRow row{.key = std::move(key), .group = std::move(group), .help = std::move(help)};
  row.set = [place, choices = std::move(choices)](std::string_view text, ServerOptions& options) {
    if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
      return InvalidArgument(fmt::format("'{}' is not one of {}", text, fmt::join(choices, ", ")));
    }
    place(options) = std::string(text);
    return OkStatus();
  };
  row.get = [place](const ServerOptions& options) {
    return place(const_cast<ServerOptions&>(options));  // `place` only gives a reference
  };
  return row;
}

template <typename Place>
ConfigRow Count(std::string key, std::string group, std::string help, Place place, uint64_t min,
                uint64_t max = std::numeric_limits<uint32_t>::max()) {
  ConfigRow row{.key = std::move(key), .group = std::move(group), .help = std::move(help)};
  row.set = [place, min, max](std::string_view text, ServerOptions& options) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < min ||
        value > max) {
      return InvalidArgument(fmt::format("'{}' is not a number from {} to {}", text, min, max));
    }
    auto& target = place(options);
    target = static_cast<std::remove_reference_t<decltype(target)>>(value);
    return OkStatus();
  };
  row.get = [place](const ServerOptions& options) {
    return fmt::format("{}", place(const_cast<ServerOptions&>(options)));
  };
  return row;
}

template <typename Place>
ConfigRow Switch(std::string key, std::string group, std::string help, Place place) {
  ConfigRow row{.key = std::move(key), .group = std::move(group), .help = std::move(help)};
  row.is_switch = true;
  row.set = [place](std::string_view text, ServerOptions& options) {
    const bool on = text == "on" || text == "true" || text == "1";
    if (!on && text != "off" && text != "false" && text != "0") {
      return InvalidArgument(fmt::format("'{}' is not on or off", text));
    }
    place(options) = on;
    return OkStatus();
  };
  row.get = [place](const ServerOptions& options) {
    return std::string(place(const_cast<ServerOptions&>(options)) ? "on" : "off");
  };
  return row;
}

// For values with a parser and a formatter of their own.
template <typename Place, typename Parse, typename Format>
ConfigRow Value(std::string key, std::string group, std::string help, Place place, Parse parse,
                Format format) {
  ConfigRow row{.key = std::move(key), .group = std::move(group), .help = std::move(help)};
  row.set = [place, parse](std::string_view text, ServerOptions& options) {
    PRECIS_ASSIGN_OR_RETURN(place(options), parse(text));
    return OkStatus();
  };
  row.get = [place, format](const ServerOptions& options) {
    return format(place(const_cast<ServerOptions&>(options)));
  };
  return row;
}

StatusOr<double> ParseShare(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
      !(value > 0 && value <= 1000)) {
    return InvalidArgument(fmt::format("'{}' is not a number above 0, up to 1000", text));
  }
  return value;
}
std::string FormatShare(double value) { return fmt::format("{}", value); }

void AddModelRows(std::vector<ConfigRow>& rows) {
  rows.push_back(Text(
      "model", kModel, "directory of the checkpoint, as Hugging Face writes it",
      [](ServerOptions & o) -> auto& { return o.engine.model_dir; }));
  rows.push_back(Value(
      "served-model-name", kModel, "name of the model in requests and replies; empty: its own",
      [](ServerOptions & o) -> auto& { return o.engine.served_model_name; }, ParseModelName,
      FormatModelName));
  rows.push_back(Text(
      "device", kModel,
      "auto (cuda where there is one, else the CPU), cpu, cuda or ref (slow, exact)",
      [](ServerOptions & o) -> auto& { return o.engine.device; },
      std::vector<std::string>(std::begin(kDevices), std::end(kDevices))));
  rows.push_back(Text("dtype", kModel, "type of weights: auto, f32, bf16 or int8",
                      [](ServerOptions & o) -> auto& { return o.engine.dtype; },
                      {"auto", "f32", "bf16", "int8"}));
  rows.push_back(Text("kv-dtype", kModel,
                      "type of keys and values: auto (as dtype), f32, bf16 or int8",
                      [](ServerOptions & o) -> auto& { return o.engine.kv_dtype; },
                      {"auto", "f32", "bf16", "int8"}));
  rows.push_back(Text("isa", kModel,
                      "instruction set: auto, avx2, avx512, avx512_bf16 or amx; pins a mixed fleet",
                      [](ServerOptions & o) -> auto& { return o.engine.isa; },
                      {"auto", "avx2", "avx512", "avx512_bf16", "amx"}));
  rows.push_back(Count(
      "threads", kModel, "threads of the CPU backend; 0: affinity and cgroup quota",
      [](ServerOptions & o) -> auto& { return o.engine.threads; }, 0, 4096));
  rows.push_back(Switch(
      "cuda-graphs", kModel, "on cuda, the launches of a decode step as one CUDA graph",
      [](ServerOptions & o) -> auto& { return o.engine.cuda_graphs; }));
}

void AddMemoryRows(std::vector<ConfigRow>& rows) {
  rows.push_back(Value(
      "pool-bytes", kMemory, "memory for keys and values (K, M, G); 0: what the limit leaves",
      [](ServerOptions & o) -> auto& { return o.engine.pool_bytes; }, ParseBytes, FormatBytes));
  rows.push_back(Count(
      "max-batch", kMemory, "sequences decoding at once; costs scratch memory",
      [](ServerOptions & o) -> auto& { return o.engine.max_batch; }, 1, 65536));
  rows.push_back(Count(
      "max-sequences", kMemory, "sequences the engine keeps, waiting ones included",
      [](ServerOptions & o) -> auto& { return o.engine.max_sequences; }, 1, 1u << 20));
  rows.push_back(Count(
      "max-source-tokens", kMemory,
      "longest document, or piece of one; costs two encoder workspaces",
      [](ServerOptions & o) -> auto& { return o.engine.max_source_tokens; }, 1, 1u << 20));
  rows.push_back(Count(
      "max-new-tokens", kMemory, "longest summary that a request may ask for",
      [](ServerOptions & o) -> auto& { return o.engine.max_new_tokens; }, 1, 1u << 20));
  rows.push_back(Count(
      "encode-slice-rows", kMemory,
      "rows of one piece of encoder work; more: better throughput, later tokens",
      [](ServerOptions & o) -> auto& { return o.engine.encode_slice_rows; }, 64, 1u << 20));
  rows.push_back(Value(
      "encode-budget", kMemory, "encoder work a step may add, as a share of a decode step",
      [](ServerOptions & o) -> auto& { return o.engine.encode_budget; }, ParseShare, FormatShare));
  rows.push_back(Switch(
      "cross-cache", kMemory, "keep encoded documents for the next request on them: on or off",
      [](ServerOptions & o) -> auto& { return o.engine.cross_cache; }));
  rows.push_back(Switch(
      "share-cross-cache", kMemory,
      "one client's documents serve others; its speed tells that somebody sent one",
      [](ServerOptions & o) -> auto& { return o.engine.share_cross_cache; }));
}

void AddNetworkRows(std::vector<ConfigRow>& rows) {
  rows.push_back(Text(
      "listen", kNetwork, "gRPC address: host:port (port 0: any free) or unix:PATH",
      [](ServerOptions & o) -> auto& { return o.listen; }));
  rows.push_back(Text(
      "metrics-listen", kNetwork, "Prometheus address: host:port; empty: no metrics",
      [](ServerOptions & o) -> auto& { return o.metrics_listen; }));
  rows.push_back(Text(
      "health-listen", kNetwork,
      "address of health alone, in plain text, open while the model loads; empty: none",
      [](ServerOptions & o) -> auto& { return o.health_listen; }));
  rows.push_back(Text(
      "port-file", kNetwork, "write the ports that were taken into this file",
      [](ServerOptions & o) -> auto& { return o.port_file; }));
  rows.push_back(Switch(
      "insecure", kNetwork, "allow --listen beyond loopback, and tokens, without encryption",
      [](ServerOptions & o) -> auto& { return o.insecure; }));
  rows.push_back(Switch(
      "reflection", kNetwork, "let clients ask for our messages: on or off",
      [](ServerOptions & o) -> auto& { return o.reflection; }));
}

void AddSecurityRows(std::vector<ConfigRow>& rows) {
  rows.push_back(Text(
      "tls-cert", kSecurity, "file of the server's certificate and its chain, PEM",
      [](ServerOptions & o) -> auto& { return o.tls_cert; }));
  rows.push_back(Text(
      "tls-key", kSecurity, "file of its private key, PEM",
      [](ServerOptions & o) -> auto& { return o.tls_key; }));
  rows.push_back(Text(
      "tls-client-ca", kSecurity, "file of authorities, PEM: clients need a certificate of theirs",
      [](ServerOptions & o) -> auto& { return o.tls_client_ca; }));
  rows.push_back(Text(
      "auth-tokens", kSecurity, "file of `name sha256 [limits]`: calls need one of these tokens",
      [](ServerOptions & o) -> auto& { return o.auth_tokens; }));
  rows.push_back(Value(
      "client-limits", kSecurity,
      "of each client: requests=, tokens-per-second=, burst=, max-priority=, max-timeout=",
      [](ServerOptions & o) -> auto& { return o.client_limits; },
      [](std::string_view text) { return ParseClientLimits(text, {}); }, FormatClientLimits));
  rows.push_back(Text(
      "admin-socket", kSecurity,
      "path of a unix socket, mode 0600, for precis.admin.v1; empty: none",
      [](ServerOptions & o) -> auto& { return o.admin_socket; }));
  rows.push_back(Count(
      "max-connections", kSecurity,
      "open connections; more are closed at once. Less where descriptors (ulimit -n) are few",
      [](ServerOptions & o) -> auto& { return o.max_connections; }, 1, 1u << 16));
  rows.push_back(Count(
      "max-connections-per-address", kSecurity,
      "of these, of one IPv4 address or IPv6 /64; never more than three quarters of them",
      [](ServerOptions & o) -> auto& { return o.max_connections_per_address; }, 1, 1u << 16));
  rows.push_back(Value(
      "max-unanswered-bytes", kSecurity,
      "one that sends more while there is nothing to send back is cut: a flood of headers",
      [](ServerOptions & o) -> auto& { return o.max_unanswered_bytes; }, ParseBytes, FormatBytes));
  rows.push_back(Count(
      "max-connection-streams", kSecurity, "calls of one connection at once; more wait",
      [](ServerOptions & o) -> auto& { return o.max_connection_streams; }, 1, 1u << 20));
  rows.push_back(Count(
      "max-metadata-bytes", kSecurity, "most bytes of one call's headers",
      [](ServerOptions & o) -> auto& { return o.max_metadata_bytes; }, 1024, 1u << 20));
  rows.push_back(Value(
      "min-ping-interval", kSecurity, "clients that ping more often are cut off",
      [](ServerOptions & o) -> auto& { return o.min_ping_interval; }, ParseDuration,
      FormatDuration));
  rows.push_back(Value(
      "max-connection-age", kSecurity, "then a client is asked to connect anew; 0: never",
      [](ServerOptions & o) -> auto& { return o.max_connection_age; }, ParseDuration,
      FormatDuration));
  rows.push_back(Value(
      "max-connection-age-grace", kSecurity, "how long calls may still run then",
      [](ServerOptions & o) -> auto& { return o.max_connection_age_grace; }, ParseDuration,
      FormatDuration));
}

void AddRequestRows(std::vector<ConfigRow>& rows) {
  rows.push_back(Count(
      "max-queue", kRequests, "requests accepted and unfinished; more are refused",
      [](ServerOptions & o) -> auto& { return o.max_queue; }, 1, 1u << 20));
  rows.push_back(Count(
      "max-queue-tokens", kRequests, "source and beams x new tokens of those requests together",
      [](ServerOptions & o) -> auto& { return o.max_queue_tokens; }, 1, 1ull << 40));
  rows.push_back(Value(
      "max-priority", kRequests, "highest priority that a client gets: high, normal or low",
      [](ServerOptions & o) -> auto& { return o.max_priority; }, ParsePriority, FormatPriority));
  rows.push_back(Count(
      "stream-outstanding", kRequests, "unfinished requests of one bulk stream",
      [](ServerOptions & o) -> auto& { return o.stream_outstanding; }, 1, 1u << 20));
  rows.push_back(Value(
      "max-text-bytes", kRequests, "longest document as text (K, M, G)",
      [](ServerOptions & o) -> auto& { return o.text.max_text_bytes; },
      [](std::string_view text) -> StatusOr<uint64_t> {
        PRECIS_ASSIGN_OR_RETURN(const uint64_t value, ParseBytes(text));
        // gRPC's message limit is an int, and must stay above ours.
        if (value == 0 || value > (256u << 20)) {
          return InvalidArgument(fmt::format("'{}' is not 1 to 256M", text));
        }
        return value;
      },
      FormatBytes));
  rows.push_back(Value(
      "max-unread-bytes", kRequests, "bytes of replies that wait for their clients (K, M, G)",
      [](ServerOptions & o) -> auto& { return o.max_unread_bytes; },
      [](std::string_view text) -> StatusOr<uint64_t> {
        PRECIS_ASSIGN_OR_RETURN(const uint64_t value, ParseBytes(text));
        if (value == 0) return InvalidArgument("0 bytes would end every call that replies");
        return value;
      },
      FormatBytes));
  rows.push_back(Value(
      "unread-timeout", kRequests, "longest that a client takes nothing of its reply; 0: any",
      [](ServerOptions & o) -> auto& { return o.unread_timeout; }, ParseDuration, FormatDuration));
  rows.push_back(Count(
      "text-threads", kRequests, "threads that tokenize",
      [](ServerOptions & o) -> auto& { return o.text.text_threads; }, 1, 256));
  rows.push_back(Value(
      "default-timeout", kRequests, "deadline of requests without one; 0: none",
      [](ServerOptions & o) -> auto& { return o.default_timeout; }, ParseDuration, FormatDuration));
  rows.push_back(Value(
      "max-timeout", kRequests, "longest deadline; later ones are cut; 0: any",
      [](ServerOptions & o) -> auto& { return o.max_timeout; }, ParseDuration, FormatDuration));
}

void AddProcessRows(std::vector<ConfigRow>& rows) {
  rows.push_back(Value(
      "drain-timeout", kProcess, "on SIGTERM, finish what runs for at most so long",
      [](ServerOptions & o) -> auto& { return o.drain_timeout; }, ParseDuration, FormatDuration));
  rows.push_back(Value(
      "watchdog-timeout", kProcess,
      "health is off after so long with work and no step; 0: no watchdog",
      [](ServerOptions & o) -> auto& { return o.watchdog_timeout; }, ParseDuration,
      FormatDuration));
  rows.push_back(Text("log-level", kProcess, "trace, debug, info, warn, error or off",
                      [](ServerOptions & o) -> auto& { return o.log.level; },
                      {"trace", "debug", "info", "warn", "error", "off"}));
  rows.push_back(Switch(
      "log-json", kProcess, "log one JSON object a line",
      [](ServerOptions & o) -> auto& { return o.log.json; }));
}

}  // namespace

std::vector<ConfigRow> ConfigTable() {
  std::vector<ConfigRow> rows;
  AddModelRows(rows);
  AddMemoryRows(rows);
  AddNetworkRows(rows);
  AddSecurityRows(rows);
  AddRequestRows(rows);
  AddProcessRows(rows);
  return rows;
}

}  // namespace precis
