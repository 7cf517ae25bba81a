// The table of options: one row has a key, its help, and how its text becomes a value and back.
// Flags, environment, file, --print-config and --help are all read from it.
//
// Called by server/config/config.cc and by the test that compares it with docs/server.md.
// Thread rule: values, no state.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "server/config/options.h"

namespace precis {

struct ConfigRow {
  std::string key;    // "max-batch": --max-batch, PRECIS_MAX_BATCH, and `max-batch = 64` in a file
  std::string group;  // heading in --help
  std::string help;
  bool is_switch = false;  // --key alone means "on"
  // Without the key's name in the message; the caller knows where the text stood.
  std::function<Status(std::string_view text, ServerOptions& options)> set = {};
  std::function<std::string(const ServerOptions& options)> get = {};
};

std::vector<ConfigRow> ConfigTable();

// "30s", "500ms", "2m", "1h"; a bare number means seconds.
StatusOr<Duration> ParseDuration(std::string_view text);
std::string FormatDuration(Duration value);
// "512M": K, M and G are powers of 1024.
StatusOr<uint64_t> ParseBytes(std::string_view text);
std::string FormatBytes(uint64_t value);
// Empty, or 1 to 128 letters, digits and any of . _ - / : @ : it goes into labels and URLs.
StatusOr<std::string> ParseModelName(std::string_view text);
std::string FormatModelName(const std::string& name);
// "high", "normal" or "low".
StatusOr<Priority> ParsePriority(std::string_view text);
std::string FormatPriority(Priority value);

}  // namespace precis
