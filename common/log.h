// The log: spdlog to stderr, text or JSON lines. No document text is ever logged.
// Thread rule: Configure once at start; the rest from any thread.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "spdlog/spdlog.h"

namespace precis {

struct LogOptions {
  std::string level = "info";  // trace, debug, info, warn, error, off
  bool json = false;           // one JSON object a line, for log collectors
};

Status ConfigureLog(const LogOptions& options);

// `text` as the inside of a JSON string; what is not UTF-8 becomes U+FFFD.
std::string JsonEscape(std::string_view text);

}  // namespace precis
