// The binary `precis`: one subcommand a file.
#include <exception>
#include <iostream>

#include "cli/command.h"

namespace precis::cli {
namespace {

int Main(int argc, char** argv) {
  int exit_code = kExitOk;
  CLI::App app("Precis: summaries from T5-family models", "precis");
  app.set_version_flag("--version", "precis " PRECIS_VERSION);
  app.require_subcommand(1);
  AddSummarizeCommand(app, exit_code);
  AddVerifyCommand(app, exit_code);
  AddInspectCommand(app, exit_code);
  AddBenchCommand(app, exit_code);
  AddConvertCommand(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Also --help and --version, which are no errors.
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return exit_code;
}

}  // namespace
}  // namespace precis::cli

int main(int argc, char** argv) {
  try {
    return precis::cli::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "precis: " << error.what() << "\n";
    return precis::cli::kExitFailed;
  }
}
