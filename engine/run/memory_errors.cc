#include "engine/run/memory_errors.h"

#include <string_view>

#include "engine/machine.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kNotEnough = "not enough memory";

}  // namespace

Status NotEnoughMemory(const std::string& what) {
  constexpr auto kCode = absl::StatusCode::kResourceExhausted;
  if (what.starts_with(kNotEnough)) return {kCode, what};
  const MemoryLimit limit = DetectMemoryLimit();
  std::string text = fmt::format("{}: {}", kNotEnough, what);
  if (limit.bytes != 0) text += fmt::format("; {} {}", limit.whose, HumanBytes(limit.bytes));
  if (limit.used != 0) text += fmt::format(", of which {} are in use", HumanBytes(limit.used));
  return {kCode, text};
}

}  // namespace precis
