// The document that a user names: a file, or "-" for standard input. Owner: a command. Thread rule:
// one thread.
#pragma once

#include <iosfwd>
#include <string>

#include "common/status.h"

namespace precis::cli {

// All bytes, as they are: the server judges them. The error names the file.
StatusOr<std::string> ReadDocument(const std::string& file, std::istream& standard_input);

}  // namespace precis::cli
