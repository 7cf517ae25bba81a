#include "engine/load/memory_errors.h"

#include <sys/resource.h>

#include <string_view>

#include "engine/api/machine.h"
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
  rlimit data{};
  if (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY) {
    text += fmt::format("; its data may have {} (ulimit -d)", HumanBytes(data.rlim_cur));
  }
  return {kCode, text};
}

}  // namespace precis
