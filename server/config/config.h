// Options from four places: flags, then PRECIS_* variables, then a file, then defaults. An unknown
// key is an error wherever it stands.
//
// Called by main at start. Thread rule: one thread; environ must not change meanwhile.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "server/config/options.h"

namespace precis {

struct ServerCommand {
  enum class Act {
    kServe,
    kPrint,        // print `text` and exit 0: --help, --version
    kPrintConfig,  // print the effective options and exit 0
    kCheck,        // load the model and exit
    kProbe,        // ask a running server for its health and exit
  } act = Act::kServe;
  ServerOptions options;
  std::string text;
};

// The variables of the environment that begin with PRECIS_, less those that Kubernetes makes for a
// service named "precis...".
std::map<std::string, std::string> PrecisEnvironment(const char* const* environ_strings);

// `args` without the program's name. INVALID_ARGUMENT names the place and the key.
StatusOr<ServerCommand> ParseCommand(const std::vector<std::string>& args,
                                     const std::map<std::string, std::string>& environment);

// Options as a file that --config reads, with a comment a group.
std::string FormatConfig(const ServerOptions& options);

}  // namespace precis
