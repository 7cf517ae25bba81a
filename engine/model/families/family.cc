#include "engine/model/families/family.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "engine/model/families/t5_common.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr Family kFamilies[] = {
    {"t5", "T5, T5 v1.1, FLAN-T5, ByT5", "t5_v10_relu_tied t5_v11_gated_untied families/byt5",
     DescribeT5, T5Names},
    {"mt5", "mT5", "families/mt5_several_ends", DescribeMt5, Mt5Names},
    {"umt5", "umT5", "families/umt5", DescribeUmt5, Mt5Names},
    {"bart", "BART, DistilBART", "families/bart_cnn families/distilbart", DescribeBart, BartNames},
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

std::span<const Family> ServedFamilies() { return kFamilies; }

StatusOr<Architecture> DescribeArchitecture(const JsonKeys& config) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> type, config.Text("model_type"));
  if (!type) return config.Error("model_type", "is missing");
  const auto family = std::ranges::find(kFamilies, *type, &Family::model_type);
  if (family != std::end(kFamilies)) return family->describe(config);
  return Unimplemented(fmt::format("{}: model_type \"{}\" is not served; {} are", config.file(),
                                   Shown(*type), Served()));
}

}  // namespace precis
