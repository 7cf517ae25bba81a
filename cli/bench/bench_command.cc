// The words of `precis bench`.
#include <unistd.h>

#include <iostream>
#include <memory>
#include <utility>

#include "cli/base/command.h"
#include "cli/bench/bench.h"
#include "cli/bench/bench_serving.h"
#include "cli/bench/bench_throughput.h"
#include "cli/bench/grpc_load.h"
#include "cli/client/connect.h"
#include "cli/client/peer_probe.h"
#include "cli/model/device_flag.h"

namespace precis::cli {
namespace {

bool IsTerminal() { return isatty(STDERR_FILENO) != 0; }

// The flags of every command that loads an engine; the option of --model.
CLI::Option* AddEngineFlags(CLI::App& command, EngineOptions& engine) {
  CLI::Option* const model =
      command.add_option("--model", engine.model_dir, "Directory of the checkpoint");
  command.add_option("--dtype", engine.dtype, "Type of the weights")->capture_default_str();
  command
      .add_option("--kv-dtype", engine.kv_dtype,
                  "Type of keys and values: f32, bf16, int8; auto: as --dtype")
      ->capture_default_str();
  command.add_option("--threads", engine.threads, "0: as many as this process may use")
      ->capture_default_str();
  command.add_option("--isa", engine.isa, "Instruction set of the kernels")->capture_default_str();
  AddDeviceFlags(command, engine);
  return model;
}

void AddTraceFlag(CLI::App& command, std::string& file) {
  command.add_option("--trace", file,
                     "Lines SOURCE,NEW: tokens of documents and summaries; without: 64 documents "
                     "that are built in");
}

struct TypedLatency {
  LatencyOptions options;
  std::string cases = "1x1,8x1,32x1,1x4";
  BenchLook look;
};

void AddLatency(CLI::App& bench, int& exit_code) {
  CLI::App* const command = bench.add_subcommand(
      "latency", "Time batches of random documents, and say how far from the machine's limit");
  const auto typed = std::make_shared<TypedLatency>();
  LatencyOptions& options = typed->options;
  AddEngineFlags(*command, options.engine)->required();
  command->add_option("--cases", typed->cases, "Batch x beams, with commas between cases")
      ->capture_default_str();
  command->add_option("--source", options.source_tokens, "Tokens of a document")
      ->capture_default_str();
  command->add_option("--new", options.new_tokens, "Tokens of a summary, exactly")
      ->capture_default_str();
  command->add_option("--repeats", options.repeats, "Runs of a case; the fastest counts")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of the random documents")->capture_default_str();
  command->add_flag("--profile", typed->look.profile,
                    "Also a table of ops on standard error: time, limit and fraction of each");
  command->callback([typed, &exit_code] {
    typed->look.terminal = IsTerminal();
    exit_code = RunBenchLatency(typed->options, typed->cases, typed->look, BenchLatency, std::cout,
                                std::cerr);
  });
}

struct TypedThroughput {
  ThroughputOptions options;
  std::string trace;
  bool no_limit = false;
  BenchLook look;
};

void AddThroughput(CLI::App& bench, int& exit_code) {
  CLI::App* const command = bench.add_subcommand(
      "throughput", "Run documents of mixed lengths, all queued at once, as fast as it goes");
  const auto typed = std::make_shared<TypedThroughput>();
  ThroughputOptions& options = typed->options;
  AddEngineFlags(*command, options.engine)->required();
  AddTraceFlag(*command, typed->trace);
  command
      ->add_option("--documents", options.documents,
                   "How many, the trace again and again; 0: the trace once")
      ->capture_default_str();
  command->add_option("--batch", options.batch, "Documents that decode at once")
      ->capture_default_str();
  command->add_option("--repeats", options.repeats, "Runs; the fastest counts")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of the random documents")->capture_default_str();
  command->add_flag("--no-limit", typed->no_limit,
                    "Do not measure the machine, and print no limit: takes half the time");
  command
      ->add_flag("--profile", typed->look.profile,
                 "Also a table of ops on standard error: time, limit and fraction of each")
      ->excludes("--no-limit");
  command->callback([typed, &exit_code] {
    typed->look.terminal = IsTerminal();
    typed->options.limit = !typed->no_limit;
    exit_code = RunBenchThroughput(typed->options, typed->trace, typed->look, BenchThroughput,
                                   std::cout, std::cerr);
  });
}

struct TypedServing {
  ServingOptions options;
  EngineOptions engine;
  uint32_t batch = 32;
  std::string target;
  Credentials credentials;
  std::string rates;
  std::string trace;
  bool no_limit = false;
  BenchLook look;
};

StatusOr<ServingSummary> ServeByServer(
    const TypedServing& typed, const ServingOptions& options,
    const std::function<void(const ServedModel&)>& on_loaded,
    const std::function<void(const ServingResult&)>& on_result,
    const std::function<void(const BenchProgress&)>& on_progress) {
  PRECIS_ASSIGN_OR_RETURN(auto stub, Connect(typed.target, typed.credentials));
  GrpcTarget target(std::move(stub));
  StatusOr<RemoteModel> asked = target.Model();
  if (absl::IsUnavailable(asked.status())) {
    return Unavailable(std::string(asked.status().message()) +
                       TlsMismatch(typed.target, !typed.credentials.tls_ca.empty()));
  }
  PRECIS_ASSIGN_OR_RETURN(const RemoteModel remote, std::move(asked));
  on_loaded({"precis-server", remote.name, remote.numerics, 0});
  ModelInfo model;
  model.vocab_size = remote.vocab_size;
  ServingSummary summary;
  PRECIS_ASSIGN_OR_RETURN(summary.highest_per_s,
                          BenchServing(options, model, target, on_result, on_progress));
  return summary;
}

StatusOr<ServingSummary> Serve(const TypedServing& typed, const ServingOptions& options,
                               const std::function<void(const ServedModel&)>& on_loaded,
                               const std::function<void(const ServingResult&)>& on_result,
                               const std::function<void(const BenchProgress&)>& on_progress) {
  if (!typed.target.empty()) {
    return ServeByServer(typed, options, on_loaded, on_result, on_progress);
  }
  return BenchServingEngine(options, typed.engine, typed.batch, on_loaded, on_result, on_progress);
}

void AddServing(CLI::App& bench, int& exit_code) {
  CLI::App* const command = bench.add_subcommand(
      "serving", "Send documents of mixed lengths at random times, and say what they wait");
  const auto typed = std::make_shared<TypedServing>();
  ServingOptions& options = typed->options;
  CLI::Option* const model = AddEngineFlags(*command, typed->engine);
  command
      ->add_option("--target", typed->target,
                   "Address of a server to send them to; without: an engine of this process")
      ->excludes(model);
  AddCredentialFlags(*command, &typed->credentials);
  AddTraceFlag(*command, typed->trace);
  command->add_option("--rates", typed->rates, "Requests a second, with commas between rates");
  command->add_flag("--find-rate", options.find_rate,
                    "Search for the highest rate whose p95 --slowdown allows");
  command
      ->add_option("--slowdown", options.slowdown,
                   "Bearable: p95 at most so many times that of requests alone")
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "Of arrivals at each rate")
      ->capture_default_str();
  command->add_option("--max-requests", options.max_requests, "At each rate, at most")
      ->capture_default_str();
  command->add_option("--batch", typed->batch, "Documents that decode at once")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of arrivals and documents")->capture_default_str();
  command->add_flag("--no-limit", typed->no_limit,
                    "Do not measure the machine, and print no limit");
  command->callback([typed, &exit_code] {
    typed->look.terminal = IsTerminal();
    typed->options.limit = !typed->no_limit;
    const auto serve = [typed](const auto&... args) { return Serve(*typed, args...); };
    exit_code = RunBenchServing(typed->options, typed->rates, typed->trace, typed->look, serve,
                                std::cout, std::cerr);
  });
}

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  CLI::App* const command = app.add_subcommand("bench", "Measure the engine on this machine");
  command->require_subcommand(1);
  AddLatency(*command, exit_code);
  AddThroughput(*command, exit_code);
  AddServing(*command, exit_code);
}

}  // namespace precis::cli
