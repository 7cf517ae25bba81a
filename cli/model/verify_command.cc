// The words of `precis verify`.
#include <iostream>
#include <memory>

#include "cli/base/command.h"
#include "cli/model/device_flag.h"
#include "cli/model/verify.h"

namespace precis::cli {

void AddVerifyCommand(CLI::App& app, int& exit_code) {
  struct Typed {
    VerifyOptions options;
    bool all = false;
  };
  CLI::App* const command = app.add_subcommand(
      "verify", "Run a checkpoint's golden.json and say whether it is served right");
  const auto typed = std::make_shared<Typed>();
  EngineOptions& engine = typed->options.engine;
  engine.dtype = "f32";  // the only type in which every id of a golden.json can be demanded
  command->add_option("dir", engine.model_dir, "Directory of the checkpoint")->required();
  command->add_option("--dtype", engine.dtype, "Type of the weights: f32, bf16, int8")
      ->capture_default_str();
  command
      ->add_option("--kv-dtype", engine.kv_dtype,
                   "Type of keys and values: f32, bf16, int8; auto: as --dtype")
      ->capture_default_str();
  AddDeviceFlags(*command, engine);
  command->add_option("--isa", engine.isa, "Instruction set of the kernels")->capture_default_str();
  command->add_option("--threads", engine.threads, "0: as many as this process may use")
      ->capture_default_str();
  command->add_flag("--mixed", typed->options.mixed, "All cases at once in one batch");
  command->add_flag("--all", typed->all, "Also a line for each case that passed");
  command->callback([typed, &exit_code] {
    exit_code = RunVerify(typed->options, typed->all, Verify, std::cout, std::cerr);
  });
}

}  // namespace precis::cli
