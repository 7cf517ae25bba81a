#include "server/config/client.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "fmt/format.h"
#include "server/config/config_table.h"

namespace precis {
namespace {

StatusOr<uint64_t> ParseCount(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value == 0 ||
      value > (1ull << 40)) {
    return InvalidArgument(fmt::format("'{}' is not a number from 1 to {}", text, 1ull << 40));
  }
  return value;
}

Status SetLimit(std::string_view key, std::string_view value, ClientLimits* limits) {
  if (key == "requests") {
    PRECIS_ASSIGN_OR_RETURN(limits->requests, ParseCount(value));
  } else if (key == "tokens-per-second") {
    PRECIS_ASSIGN_OR_RETURN(limits->tokens_per_second, ParseCount(value));
  } else if (key == "burst") {
    PRECIS_ASSIGN_OR_RETURN(limits->burst, ParseCount(value));
  } else if (key == "max-priority") {
    PRECIS_ASSIGN_OR_RETURN(limits->max_priority, ParsePriority(value));
  } else if (key == "max-timeout") {
    PRECIS_ASSIGN_OR_RETURN(limits->max_timeout, ParseDuration(value));
  } else {
    return InvalidArgument(
        "a limit is one of requests, tokens-per-second, burst, max-priority and max-timeout");
  }
  return OkStatus();
}

}  // namespace

StatusOr<ClientLimits> ParseClientLimits(std::string_view words, const ClientLimits& base) {
  constexpr std::string_view kBlanks = " \t";
  ClientLimits limits = base;
  std::set<std::string_view> keys;
  while (true) {
    words.remove_prefix(std::min(words.find_first_not_of(kBlanks), words.size()));
    if (words.empty()) break;
    const std::string_view word = words.substr(0, words.find_first_of(kBlanks));
    words.remove_prefix(word.size());
    const auto equals = word.find('=');
    // Not quoted: in a file of tokens it may be one, by mistake.
    if (equals == std::string_view::npos) return InvalidArgument("a limit is written key=value");
    const std::string_view key = word.substr(0, equals);
    if (!keys.insert(key).second) return InvalidArgument(fmt::format("{} stands twice", key));
    PRECIS_RETURN_IF_ERROR(SetLimit(key, word.substr(equals + 1), &limits));
  }
  if (limits.burst != 0 && limits.tokens_per_second == 0) {
    return InvalidArgument("burst needs tokens-per-second");
  }
  return limits;
}

std::string FormatClientLimits(const ClientLimits& limits) {
  std::string out;
  const auto add = [&out](std::string_view key, const std::string& value) {
    out += fmt::format("{}{}={}", out.empty() ? "" : " ", key, value);
  };
  if (limits.requests != 0) add("requests", fmt::format("{}", limits.requests));
  if (limits.tokens_per_second != 0) {
    add("tokens-per-second", fmt::format("{}", limits.tokens_per_second));
  }
  if (limits.burst != 0) add("burst", fmt::format("{}", limits.burst));
  if (limits.max_priority != Priority::kHigh) {
    add("max-priority", FormatPriority(limits.max_priority));
  }
  if (limits.max_timeout.count() != 0) add("max-timeout", FormatDuration(limits.max_timeout));
  return out;
}

}  // namespace precis
