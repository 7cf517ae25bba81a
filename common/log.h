// The log: spdlog to stderr, text or JSON lines. No document text is ever logged. Nothing that logs
// waits for who reads the log (common/log_sink.h).
// Thread rule: Configure once at start; the rest from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "spdlog/spdlog.h"

namespace precis {

struct LogOptions {
  std::string level = "info";  // trace, debug, info, warn, error, off
  bool json = false;           // one JSON object a line, for log collectors
};

Status ConfigureLog(const LogOptions& options);

// Lines of the log that were lost since the start, because nothing read it.
uint64_t DroppedLogLines();

// What an event says besides its name, in order: `key=value` in a text log, keys of the object in a
// JSON log. Keys are words of ours, none of them time, level or message.
class LogFields {
 public:
  // A word of ours or of letters, digits, '.', '_', ':' and '-': bare in a text log.
  LogFields& Word(std::string_view key, std::string_view value);
  LogFields& Text(std::string_view key, std::string_view value);  // quoted and escaped
  LogFields& Count(std::string_view key, uint64_t value);
  LogFields& Milliseconds(std::string_view key, double value);  // to a tenth

  std::string AsText() const;         // a=1 b="two"
  std::string AsJsonMembers() const;  // "a":1,"b":"two"

 private:
  struct Field {
    std::string key, value;
    bool is_text, is_quoted;  // in JSON all texts are quoted
  };
  std::vector<Field> fields_;
};

// One line. `event` is the message of a JSON line, and the first word of a text line.
void LogEvent(spdlog::level::level_enum level, std::string_view event, const LogFields& fields);

// `text` as the inside of a JSON string; what is not UTF-8 becomes U+FFFD.
std::string JsonEscape(std::string_view text);

}  // namespace precis
