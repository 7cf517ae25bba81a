// The commands of `precis`: each adds its subcommand to the parser and, when it was the one typed,
// leaves its exit code. Owner: main. Thread rule: one thread.
#pragma once

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"

namespace precis::cli {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;  // what was asked for did not happen
constexpr int kExitUsage = 2;   // what was typed makes no sense

void AddSummarizeCommand(CLI::App& app, int& exit_code);
void AddVerifyCommand(CLI::App& app, int& exit_code);
void AddInspectCommand(CLI::App& app, int& exit_code);
void AddBenchCommand(CLI::App& app, int& exit_code);
void AddConvertCommand(CLI::App& app, int& exit_code);

}  // namespace precis::cli
