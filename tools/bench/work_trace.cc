#include "tools/bench/work_trace.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>

#include "fmt/format.h"

namespace precis {
namespace {

bool ParseNumber(std::string_view digits, uint32_t most, uint32_t* out) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
  return error == std::errc() && end == digits.data() + digits.size() && *out >= 1 && *out <= most;
}

bool ParseItem(std::string_view line, WorkItem* out) {
  const size_t comma = line.find(',');
  return comma != std::string_view::npos &&
         ParseNumber(line.substr(0, comma), kMostBenchSource, &out->source_tokens) &&
         ParseNumber(line.substr(comma + 1), kMostBenchNew, &out->new_tokens);
}

}  // namespace

StatusOr<WorkTrace> ParseTrace(std::string_view text, std::string_view name) {
  WorkTrace trace;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    WorkItem item;
    if (!ParseItem(line, &item)) {
      return InvalidArgument(fmt::format(
          "{}:{}: '{}' is not SOURCE,NEW with a source of 1 to {} tokens and 1 to {} new ones",
          name, number, line.substr(0, 40), kMostBenchSource, kMostBenchNew));
    }
    trace.push_back(item);
  }
  if (trace.empty()) return InvalidArgument(fmt::format("{} has no line SOURCE,NEW", name));
  return trace;
}

StatusOr<WorkTrace> ReadTrace(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) return NotFound(fmt::format("{}: {}", path, std::strerror(errno)));
  return ParseTrace(text, path);
}

const WorkTrace& DefaultTrace() {
  static const WorkTrace trace = {
      {66, 49},   {46, 45},  {301, 19},  {27, 19},   {60, 32},  {33, 32},  {922, 38}, {718, 16},
      {24, 23},   {99, 33},  {43, 31},   {39, 31},   {86, 85},  {78, 26},  {75, 74},  {41, 40},
      {147, 43},  {57, 38},  {1024, 68}, {45, 19},   {168, 40}, {124, 90}, {52, 19},  {120, 74},
      {531, 41},  {614, 62}, {95, 17},   {69, 68},   {201, 71}, {140, 31}, {64, 56},  {152, 101},
      {138, 26},  {103, 8},  {105, 89},  {160, 25},  {62, 48},  {1024, 8}, {112, 41}, {50, 27},
      {1024, 68}, {314, 70}, {17, 16},   {116, 109}, {81, 52},  {220, 83}, {22, 21},  {438, 8},
      {35, 34},   {48, 12},  {72, 48},   {128, 101}, {89, 34},  {84, 61},  {817, 43}, {92, 28},
      {37, 36},   {53, 39},  {31, 17},   {185, 23},  {253, 81}, {335, 8},  {109, 99}, {55, 54},
  };
  return trace;
}

WorkTrace Repeated(const WorkTrace& trace, size_t count) {
  WorkTrace out(count);
  for (size_t i = 0; i < count; ++i) out[i] = trace[i % trace.size()];
  return out;
}

}  // namespace precis
