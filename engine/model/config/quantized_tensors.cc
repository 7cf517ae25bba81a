#include "engine/model/config/quantized_tensors.h"

#include <string>
#include <string_view>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kWeight = ".weight";

// "a.wo.weight" for "a.wo.weight_scale", if the checkpoint has it; else empty. A bias is a term of
// its own, which transformers leaves out as well.
std::string WeightBeside(const Checkpoint& checkpoint, std::string_view name) {
  if (name.ends_with(".bias")) return {};
  for (size_t dot = name.rfind('.'); dot != std::string_view::npos && dot > 0;
       dot = name.rfind('.', dot - 1)) {
    std::string weight = std::string(name.substr(0, dot)).append(kWeight);
    if (weight != name && checkpoint.Has(weight)) return weight;
  }
  return {};
}

bool IsScale(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return last.find("scale") != std::string_view::npos ||
         last.find("zero_point") != std::string_view::npos;
}

}  // namespace

Status RefuseQuantized(const Checkpoint& checkpoint, const ModelConfig& config) {
  const std::string by =
      config.quantization ? fmt::format(" (quantization_config: {})", *config.quantization) : "";
  for (const std::string& name : checkpoint.names()) {
    const std::string weight = WeightBeside(checkpoint, name);
    if (weight.empty() && !IsScale(name)) continue;
    return Unimplemented(fmt::format(
        "{}: {}{}; no model that is served has this tensor, and weights that need it are not "
        "served: write plain "
        "f32, bf16 or f16 weights, which --dtype int8 quantizes at load",
        checkpoint.Describe(name),
        weight.empty() ? "is a scale" : fmt::format("changes what {} means", weight), by));
  }
  return OkStatus();
}

}  // namespace precis
