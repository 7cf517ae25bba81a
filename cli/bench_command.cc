// The words of `precis bench`.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/bench.h"
#include "cli/command.h"

namespace precis::cli {
namespace {

struct Typed {
  LatencyOptions options;
  std::string cases = "1x1,8x1,32x1,1x4";
  BenchLook look;
};

void AddLatency(CLI::App& bench, int& exit_code) {
  CLI::App* const command = bench.add_subcommand(
      "latency", "Time batches of random documents, and say how far from the machine's limit");
  const auto typed = std::make_shared<Typed>();
  LatencyOptions& options = typed->options;
  EngineOptions& engine = options.engine;
  command->add_option("--model", engine.model_dir, "Directory of the checkpoint")->required();
  command->add_option("--dtype", engine.dtype, "Type of the weights")->capture_default_str();
  command
      ->add_option("--kv-dtype", engine.kv_dtype,
                   "Type of keys and values: f32, bf16, int8; auto: as --dtype")
      ->capture_default_str();
  command->add_option("--cases", typed->cases, "Batch x beams, with commas between cases")
      ->capture_default_str();
  command->add_option("--source", options.source_tokens, "Tokens of a document")
      ->capture_default_str();
  command->add_option("--new", options.new_tokens, "Tokens of a summary, exactly")
      ->capture_default_str();
  command->add_option("--repeats", options.repeats, "Runs of a case; the fastest counts")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of the random documents")->capture_default_str();
  command->add_option("--threads", engine.threads, "0: as many as this process may use")
      ->capture_default_str();
  command->add_option("--isa", engine.isa, "Instruction set of the kernels")->capture_default_str();
  command->add_option("--backend", engine.backend, "ref, cpu")->capture_default_str();
  command->add_flag("--profile", typed->look.profile,
                    "Also a table of ops on standard error: time, limit and fraction of each");
  command->callback([typed, &exit_code] {
    typed->look.terminal = isatty(STDERR_FILENO) != 0;
    exit_code = RunBenchLatency(typed->options, typed->cases, typed->look, BenchLatency, std::cout,
                                std::cerr);
  });
}

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  CLI::App* const command =
      app.add_subcommand("bench", "Measure the engine on this machine, without a server");
  command->require_subcommand(1);
  AddLatency(*command, exit_code);
}

}  // namespace precis::cli
