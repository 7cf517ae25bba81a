// The words of `precis summarize`, and the document it names.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/base/command.h"
#include "cli/client/document.h"
#include "cli/client/generation_flags.h"
#include "cli/client/summarize.h"

namespace precis::cli {
namespace {

struct Typed {
  std::string file = "-";
  std::string model;
  std::string adapter;
  SummarizeOptions options;
};

int Run(const Typed& typed, const v1::GenerationOptions& generation) {
  // A program that waits for a keyboard without a word looks as if it hung.
  if (typed.file == "-" && isatty(STDIN_FILENO) != 0) {
    std::cerr << "precis: reading standard input; Ctrl-D on a line of its own ends it\n";
  }
  StatusOr<std::string> document = ReadDocument(typed.file, std::cin);
  if (!document.ok()) {
    std::cerr << "precis: " << std::string(document.status().message()) << "\n";
    return kExitFailed;
  }
  v1::StreamSummarizeRequest request;
  request.set_model(typed.model);
  request.set_adapter(typed.adapter);
  request.set_text(std::move(document).value());
  *request.mutable_options() = generation;
  return Summarize(typed.options, request, std::cout, std::cerr);
}

}  // namespace

void AddSummarizeCommand(CLI::App& app, int& exit_code) {
  CLI::App* const command = app.add_subcommand(
      "summarize", "Summarize a document by a running server; the text comes as it is written");
  const auto typed = std::make_shared<Typed>();
  const auto generation = std::make_shared<v1::GenerationOptions>();
  command->add_option("file", typed->file, "The document; -: standard input")
      ->capture_default_str();
  command->add_option("--server", typed->options.server, "Address of the server")
      ->envname("PRECIS_SERVER")
      ->capture_default_str();
  AddCredentialFlags(*command, &typed->options.credentials);
  command->add_option("--model", typed->model, "Model to ask for; without: the server's");
  command->add_option("--adapter", typed->adapter, "Adapter to ask for; without: none");
  command
      ->add_option("--timeout", typed->options.timeout_seconds,
                   "Give up after so many seconds; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--json", typed->options.json,
                    "Print one JSON object: the whole reply, or {\"error\": ...}");
  AddGenerationFlags(*command, generation);
  command->callback([typed, generation, &exit_code] { exit_code = Run(*typed, *generation); });
}

}  // namespace precis::cli
