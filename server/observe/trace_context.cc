#include "server/observe/trace_context.h"

#include <algorithm>
#include <set>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr size_t kTraceDigits = 32;
constexpr size_t kSpanDigits = 16;
// "00-" trace id "-" span id "-01"
constexpr size_t kTraceAt = 3;
constexpr size_t kSpanAt = kTraceAt + kTraceDigits + 1;
constexpr size_t kFlagsAt = kSpanAt + kSpanDigits + 1;
constexpr size_t kTraceparentBytes = kFlagsAt + 2;

constexpr size_t kMaxStateBytes = 512;
constexpr size_t kMaxStateMembers = 32;
constexpr size_t kMaxStatePart = 256;  // of a key or a value
constexpr size_t kMaxTenant = 241;
constexpr size_t kMaxSystem = 14;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }

bool IsHex(std::string_view s) {
  return std::all_of(s.begin(), s.end(),
                     [](char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); });
}

bool IsId(std::string_view s) { return IsHex(s) && s.find_first_not_of('0') != s.npos; }

int HexValue(char c) { return IsDigit(c) ? c - '0' : c - 'a' + 10; }

bool IsKeyPart(std::string_view s, size_t most, bool digit_first) {
  if (s.empty() || s.size() > most) return false;
  if (!IsLower(s[0]) && !(digit_first && IsDigit(s[0]))) return false;
  return std::all_of(s.begin(), s.end(), [](char c) {
    return IsLower(c) || IsDigit(c) || c == '_' || c == '-' || c == '*' || c == '/';
  });
}

// "vendor", or "tenant@vendor", whose tenant may begin with a digit.
bool IsStateKey(std::string_view key) {
  const size_t at = key.find('@');
  if (at == key.npos) return IsKeyPart(key, kMaxStatePart, /*digit_first=*/false);
  return IsKeyPart(key.substr(0, at), kMaxTenant, /*digit_first=*/true) &&
         IsKeyPart(key.substr(at + 1), kMaxSystem, /*digit_first=*/false);
}

bool IsStateValue(std::string_view value) {
  if (value.empty() || value.size() > kMaxStatePart || value.back() == ' ') return false;
  return std::all_of(value.begin(), value.end(),
                     [](char c) { return c >= 0x20 && c <= 0x7e && c != ',' && c != '='; });
}

std::string_view Trimmed(std::string_view s) {
  constexpr std::string_view kSpace = " \t";
  const size_t first = s.find_first_not_of(kSpace);
  if (first == s.npos) return {};
  return s.substr(first, s.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

std::string TraceContext::Traceparent() const {
  return fmt::format("00-{}-{}-{}", trace_id, span_id, sampled ? "01" : "00");
}

std::optional<TraceParent> ParseTraceparent(std::string_view header) {
  if (header.size() < kTraceparentBytes) return std::nullopt;
  const std::string_view version = header.substr(0, 2);
  if (!IsHex(version) || version == "ff") return std::nullopt;
  // Version 00 ends here; a later one may go on after another dash.
  if (header.size() > kTraceparentBytes && (version == "00" || header[kTraceparentBytes] != '-')) {
    return std::nullopt;
  }
  const std::string_view trace = header.substr(kTraceAt, kTraceDigits);
  const std::string_view span = header.substr(kSpanAt, kSpanDigits);
  const std::string_view flags = header.substr(kFlagsAt, 2);
  const bool dashes =
      header[kTraceAt - 1] == '-' && header[kSpanAt - 1] == '-' && header[kFlagsAt - 1] == '-';
  if (!dashes || !IsId(trace) || !IsId(span) || !IsHex(flags)) return std::nullopt;
  return TraceParent{.trace_id = std::string(trace),
                     .span_id = std::string(span),
                     .sampled = (HexValue(flags[1]) & 1) != 0};
}

bool IsTracestate(std::string_view header) {
  if (header.size() > kMaxStateBytes) return false;
  std::set<std::string_view> keys;
  while (true) {
    const size_t comma = std::min(header.find(','), header.size());
    const std::string_view member = Trimmed(header.substr(0, comma));
    if (!member.empty()) {  // empty ones are allowed
      const size_t equals = member.find('=');
      if (equals == member.npos || !IsStateKey(member.substr(0, equals)) ||
          !IsStateValue(member.substr(equals + 1)) ||
          !keys.insert(member.substr(0, equals)).second) {
        return false;
      }
    }
    if (comma == header.size()) break;
    header.remove_prefix(comma + 1);
  }
  return !keys.empty() && keys.size() <= kMaxStateMembers;
}

std::string TraceIdOf(uint64_t high, uint64_t low) {
  // All zeros would mean that there is none.
  return fmt::format("{:016x}{:016x}", high, low == 0 ? 1 : low);
}

std::string SpanIdOf(uint64_t bits) { return fmt::format("{:016x}", bits == 0 ? 1 : bits); }

}  // namespace precis
