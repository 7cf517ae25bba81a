// The document that a user names: a file, or "-" for standard input. Owner: a command. Thread rule:
// one thread.
#pragma once

#include <iosfwd>
#include <string>

#include "common/status.h"

namespace precis::cli {

// All bytes as they are, which must be UTF-8. The error names the file, and the byte.
StatusOr<std::string> ReadDocument(const std::string& file, std::istream& standard_input);

}  // namespace precis::cli
