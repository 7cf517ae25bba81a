// Words that no command knows, and what may have been meant by them. Owner: main. Thread rule: one
// thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/base/command.h"

namespace precis::cli {

// "--max-tokens: unknown option; did you mean --max-new-tokens?", of the first word that `app` or
// the command that was typed did not know after a parse that failed. Empty where all were known.
std::string UnknownWord(const CLI::App& app);

// "PRECIS_SERVR is not read; did you mean PRECIS_SERVER?", for each variable that is nearly one of
// ours. Others that begin with PRECIS_ are the server's.
std::vector<std::string> NearlyOurVariables(const std::vector<std::string>& names);

// The names of `environ_strings` that begin with PRECIS_.
std::vector<std::string> PrecisVariables(const char* const* environ_strings);

}  // namespace precis::cli
