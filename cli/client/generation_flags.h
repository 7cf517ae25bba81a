// Every option of precis.v1.GenerationOptions as a flag. A flag that was not typed stays absent, so
// that the checkpoint's default holds; the server judges values. Owner: a command. Thread rule: one
// thread.
#pragma once

#include <memory>
#include <string>

#include "CLI/App.hpp"
#include "precis/v1/summarization.pb.h"

namespace precis::cli {

// Adds the flags to `command`; once parsed, `options` has what was typed.
void AddGenerationFlags(CLI::App& command, std::shared_ptr<v1::GenerationOptions> options);

// "--top-p" for "options.top_p": what to tell a user of a field. Empty if no flag sets it.
std::string FlagOfField(const std::string& field);

}  // namespace precis::cli
