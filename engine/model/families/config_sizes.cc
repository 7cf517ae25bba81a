#include "engine/model/families/config_sizes.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>

#include "fmt/format.h"

namespace precis {
namespace {

struct NamedActivation {
  std::string_view name;
  ActivationKind kind;
};
// Keys of ACT2FN in transformers 5.5.4.
constexpr NamedActivation kActivations[] = {
    {"relu", ActivationKind::kRelu},          {"gelu", ActivationKind::kGelu},
    {"gelu_python", ActivationKind::kGelu},   {"gelu_new", ActivationKind::kGeluTanh},
    {"gelu_fast", ActivationKind::kGeluTanh}, {"gelu_pytorch_tanh", ActivationKind::kGeluTanh},
    {"silu", ActivationKind::kSilu},          {"swish", ActivationKind::kSilu},
};

}  // namespace

Status ReadSize(const JsonKeys& keys, const SizeKey& size, uint32_t* out) {
  *out = size.family;
  for (const std::string_view key : {size.key, size.alias}) {
    if (!keys.object().contains(std::string(key))) continue;
    PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> value, keys.Count(key, 1, size.max));
    if (!value) return keys.Error(key, "is missing (null)");
    *out = *value;
  }
  return OkStatus();
}

StatusOr<ActivationKind> ActivationNamed(const JsonKeys& keys, std::string_view key,
                                         std::string_view name) {
  const auto found = std::ranges::find(kActivations, name, &NamedActivation::name);
  if (found != std::end(kActivations)) return found->kind;
  std::string served;
  for (const NamedActivation& one : kActivations) {
    served += fmt::format("{}{}", served.empty() ? "" : ", ", one.name);
  }
  return Unimplemented(
      fmt::format("{}: {} \"{}\" is not served; {} are", keys.file(), key, Shown(name), served));
}

}  // namespace precis
