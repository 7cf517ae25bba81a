// The words of `precis inspect`.
#include <iostream>
#include <memory>

#include "cli/base/command.h"
#include "cli/model/inspect.h"

namespace precis::cli {
namespace {

struct Typed {
  std::string dir;
  std::string dtype = "f32";
  std::string kv_dtype = "f32";
  InspectLoad load;
};

int CannotBeServed(const Status& why) {
  std::cerr << "precis: cannot be served: " << std::string(why.message()) << "\n";
  return kExitFailed;
}

int Run(const Typed& typed) {
  const StatusOr<Inspection> inspection = Inspect(typed.dir, typed.dtype, typed.kv_dtype);
  if (!inspection.ok()) return CannotBeServed(inspection.status());
  std::cout << FormatInspection(*inspection, typed.load) << std::flush;
  if (inspection->without_tokenizer.ok()) return kExitOk;
  return CannotBeServed(inspection->without_tokenizer);
}

}  // namespace

void AddInspectCommand(CLI::App& app, int& exit_code) {
  CLI::App* const command =
      app.add_subcommand("inspect", "Say what a checkpoint is and what serving it would cost");
  const auto typed = std::make_shared<Typed>();
  command->add_option("dir", typed->dir, "Directory of the checkpoint")->required();
  command->add_option("--dtype", typed->dtype, "Type of the weights")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->capture_default_str();
  command->add_option("--kv-dtype", typed->kv_dtype, "Type of keys and values")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->capture_default_str();
  command->add_option("--documents", typed->load.documents, "Documents served at once")
      ->capture_default_str();
  command->add_option("--source-tokens", typed->load.source_tokens, "Tokens of a document")
      ->capture_default_str();
  command->add_option("--new-tokens", typed->load.new_tokens, "Tokens of a summary")
      ->capture_default_str();
  command->callback([typed, &exit_code] { exit_code = Run(*typed); });
}

}  // namespace precis::cli
