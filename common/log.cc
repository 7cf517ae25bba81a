#include "common/log.h"

#include <unistd.h>

#include <memory>

#include "common/log_sink.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "spdlog/pattern_formatter.h"

namespace precis {
namespace {

// In the place of a function's name: the message is members of a JSON object already. Known by its
// address, which no message can forge.
constexpr char kMembers[] = "members";

// %* in the pattern: the line's members of the JSON object.
class JsonMembersFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& msg, const std::tm&,
              spdlog::memory_buf_t& dest) override {
    const std::string_view payload{msg.payload.data(), msg.payload.size()};
    const std::string text = msg.source.funcname == kMembers
                                 ? std::string(payload)
                                 : fmt::format(R"("message":"{}")", JsonEscape(payload));
    dest.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMembersFlag>();
  }
};

// Ours of the default logger; null before ConfigureLog.
const LogSink* OurSink() {
  const auto& sinks = spdlog::default_logger_raw()->sinks();
  return sinks.empty() ? nullptr : dynamic_cast<const LogSink*>(sinks.front().get());
}

}  // namespace

Status ConfigureLog(const LogOptions& options) {
  const auto level = spdlog::level::from_str(options.level);
  if (level == spdlog::level::off && options.level != "off") {
    return InvalidArgument(fmt::format(
        "log level '{}' is not one of trace, debug, info, warn, error, off", options.level));
  }
  auto logger = std::make_shared<spdlog::logger>(
      "precis", std::make_shared<LogSink>(STDERR_FILENO, options.json));
  if (options.json) {
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<JsonMembersFlag>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%*})");
    logger->set_formatter(std::move(formatter));
  } else {
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %L %v");
  }
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
  return OkStatus();
}

uint64_t DroppedLogLines() {
  const LogSink* sink = OurSink();
  return sink == nullptr ? 0 : sink->dropped_lines();
}

LogFields& LogFields::Word(std::string_view key, std::string_view value) {
  fields_.push_back({std::string(key), std::string(value), /*is_text=*/true, /*is_quoted=*/false});
  return *this;
}

LogFields& LogFields::Text(std::string_view key, std::string_view value) {
  fields_.push_back({std::string(key), std::string(value), /*is_text=*/true, /*is_quoted=*/true});
  return *this;
}

LogFields& LogFields::Count(std::string_view key, uint64_t value) {
  fields_.push_back({std::string(key), fmt::format("{}", value), false, false});
  return *this;
}

LogFields& LogFields::Milliseconds(std::string_view key, double value) {
  fields_.push_back({std::string(key), fmt::format("{:.1f}", value), false, false});
  return *this;
}

std::string LogFields::AsText() const {
  std::string out;
  for (const Field& f : fields_) {
    if (!out.empty()) out += ' ';
    out += f.is_quoted ? fmt::format("{}=\"{}\"", f.key, JsonEscape(f.value))
                       : fmt::format("{}={}", f.key, f.value);
  }
  return out;
}

std::string LogFields::AsJsonMembers() const {
  std::string out;
  for (const Field& f : fields_) {
    if (!out.empty()) out += ',';
    out += f.is_text ? fmt::format(R"("{}":"{}")", f.key, JsonEscape(f.value))
                     : fmt::format(R"("{}":{})", f.key, f.value);
  }
  return out;
}

void LogEvent(spdlog::level::level_enum level, std::string_view event, const LogFields& fields) {
  spdlog::logger* logger = spdlog::default_logger_raw();
  if (!logger->should_log(level)) return;
  const LogSink* sink = OurSink();
  if (sink == nullptr || !sink->json()) {
    logger->log(level, spdlog::string_view_t(fmt::format("{} {}", event, fields.AsText())));
    return;
  }
  const std::string members =
      fmt::format(R"("message":"{}",{})", JsonEscape(event), fields.AsJsonMembers());
  logger->log(spdlog::source_loc{__FILE__, __LINE__, kMembers}, level,
              spdlog::string_view_t(members));
}

std::string JsonEscape(std::string_view text) {
  using Json = nlohmann::json;
  const std::string quoted =
      Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2);
}

}  // namespace precis
