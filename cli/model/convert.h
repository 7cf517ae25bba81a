// `precis convert`: another grouping of a checkpoint, and what came of it as text. Owner: main, or
// a test with a converter of its own. Thread rule: one thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "cli/model/look.h"
#include "tools/convert/convert.h"

namespace precis::cli {

using Converter = std::function<StatusOr<ConvertReport>(const ConvertOptions&)>;

std::string FormatConversion(const ConvertOptions& options, const ConvertReport& report);

// Returns the exit code. A bar on `err` where that is a terminal.
int RunConvert(ConvertOptions options, bool terminal, const Converter& convert, std::ostream& out,
               std::ostream& err);

}  // namespace precis::cli
