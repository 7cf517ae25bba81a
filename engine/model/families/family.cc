#include "engine/model/families/family.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "fmt/format.h"

namespace precis {
namespace {

struct Family {
  std::string_view model_type;
  StatusOr<Architecture> (*describe)(const JsonKeys& config);
};
constexpr Family kFamilies[] = {
    {"t5", DescribeT5},
    {"mt5", DescribeMt5},
    {"umt5", DescribeUmt5},
};

// "t5, mt5 and umt5".
std::string Served() {
  std::string out;
  for (const Family& family : kFamilies) {
    if (!out.empty()) out += &family == std::end(kFamilies) - 1 ? " and " : ", ";
    out += family.model_type;
  }
  return out;
}

}  // namespace

StatusOr<Architecture> DescribeArchitecture(const JsonKeys& config) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> type, config.Text("model_type"));
  if (!type) return config.Error("model_type", "is missing");
  const auto family = std::ranges::find(kFamilies, *type, &Family::model_type);
  if (family != std::end(kFamilies)) return family->describe(config);
  return Unimplemented(fmt::format("{}: model_type \"{}\" is not served; {} are", config.file(),
                                   Shown(*type), Served()));
}

}  // namespace precis
