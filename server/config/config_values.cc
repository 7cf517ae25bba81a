#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>

#include "common/log.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "server/config/config_table.h"

namespace precis {
namespace {

struct Unit {
  std::string_view suffix;
  int64_t nanoseconds;
};
// Longer suffixes first: "ms" ends in "s".
constexpr Unit kTimeUnits[] = {
    {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};

// Digits with at most one point, as strtod would read more than we document.
bool ParsePlainNumber(std::string_view text, double* value) {
  if (text.empty() || text.find_first_not_of("0123456789.") != std::string_view::npos) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

constexpr std::string_view kNameMarks = "._-/:@";
constexpr size_t kMostNameBytes = 128;

constexpr std::string_view kPriorities[] = {"high", "normal", "low"};  // by value of the enum

}  // namespace

StatusOr<Duration> ParseDuration(std::string_view text) {
  std::string_view number = text;
  int64_t unit = 1'000'000'000;
  for (const Unit& u : kTimeUnits) {
    if (text.size() > u.suffix.size() && text.ends_with(u.suffix)) {
      number.remove_suffix(u.suffix.size());
      unit = u.nanoseconds;
      break;
    }
  }
  double value = 0;
  // A year is more than anyone means, and keeps sums of times far from overflow.
  if (!ParsePlainNumber(number, &value) || value * static_cast<double>(unit) > 3.2e16) {
    return InvalidArgument(fmt::format("'{}' is not a time such as 30s, 500ms, 2m or 1h", text));
  }
  return Duration(std::llround(value * static_cast<double>(unit)));
}

std::string FormatDuration(Duration value) {
  const auto ns = value.count();
  if (ns % 1'000'000'000 == 0) return fmt::format("{}s", ns / 1'000'000'000);
  return fmt::format("{}ms", static_cast<double>(ns) / 1e6);
}

StatusOr<uint64_t> ParseBytes(std::string_view text) {
  std::string_view number = text;
  uint64_t unit = 1;
  if (!text.empty()) {
    switch (text.back()) {
      case 'K':
        unit = 1ull << 10;
        break;
      case 'M':
        unit = 1ull << 20;
        break;
      case 'G':
        unit = 1ull << 30;
        break;
      default:
        break;
    }
    if (unit != 1) number.remove_suffix(1);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (number.empty() || error != std::errc() || end != number.data() + number.size() ||
      value > std::numeric_limits<uint64_t>::max() / unit) {
    return InvalidArgument(fmt::format("'{}' is not a number of bytes such as 512M or 8G", text));
  }
  return value * unit;
}

std::string FormatBytes(uint64_t value) {
  if (value == 0) return "0";
  if (value % (1ull << 30) == 0) return fmt::format("{}G", value >> 30);
  if (value % (1ull << 20) == 0) return fmt::format("{}M", value >> 20);
  if (value % (1ull << 10) == 0) return fmt::format("{}K", value >> 10);
  return fmt::format("{}", value);
}

StatusOr<std::string> ParseModelName(std::string_view text) {
  const bool allowed = std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || kNameMarks.find(static_cast<char>(c)) != kNameMarks.npos;
  });
  if (allowed && text.size() <= kMostNameBytes) return std::string(text);
  return InvalidArgument(
      fmt::format("'{}' is not a name of up to {} letters, digits and any of . _ - / : @",
                  JsonEscape(text), kMostNameBytes));
}

std::string FormatModelName(const std::string& name) { return name; }

StatusOr<Priority> ParsePriority(std::string_view text) {
  const auto* at = std::find(std::begin(kPriorities), std::end(kPriorities), text);
  if (at == std::end(kPriorities)) {
    return InvalidArgument(
        fmt::format("'{}' is not one of {}", text, fmt::join(kPriorities, ", ")));
  }
  return static_cast<Priority>(at - std::begin(kPriorities));
}

std::string FormatPriority(Priority value) {
  return std::string(kPriorities[static_cast<size_t>(value)]);
}

}  // namespace precis
