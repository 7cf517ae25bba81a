// The binary `precis`: one subcommand a file.
#include <unistd.h>

#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "cli/base/command.h"
#include "cli/base/typed_words.h"
#include "common/streams.h"

namespace precis::cli {
namespace {

PRECIS_OPEN_STANDARD_STREAMS_FIRST();

int Main(int argc, char** argv) {
  int exit_code = kExitOk;
  for (const std::string& line : NearlyOurVariables(PrecisVariables(environ))) {
    std::cerr << "precis: warning: " << line << "\n";
  }
  CLI::App app("Precis: summaries from encoder-decoder models", "precis");
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
    const bool is_error = error.get_exit_code() != 0;  // --help and --version are none
    if (const std::string unknown = UnknownWord(app); is_error && !unknown.empty()) {
      std::cerr << "precis: " << unknown << "\nRun with --help for more information.\n";
    } else {
      app.exit(error);
    }
    return is_error ? kExitUsage : kExitOk;
  }
  return exit_code;
}

}  // namespace
}  // namespace precis::cli

int main(int argc, char** argv) {
  try {
    return precis::cli::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    std::cerr << "precis: not enough memory: an allocation failed\n";
    return precis::cli::kExitFailed;
  } catch (const std::exception& error) {
    std::cerr << "precis: " << error.what() << "\n";
    return precis::cli::kExitFailed;
  }
}
