#include "engine/model/config/foreign_tensors.h"

#include <array>
#include <string>
#include <string_view>

#include "engine/model/families/family.h"
#include "fmt/format.h"

namespace precis {
namespace {

// A tensor of the first layer of either stack; empty: none is there.
std::string FirstOf(const TensorNames& names, const Checkpoint& checkpoint) {
  for (const StackNames* stack : {&names.encoder, &names.decoder}) {
    const std::string name = names.Projection(OfLayer(stack->self.prefix, 0), 'q');
    const std::string_view bare = std::string_view(name).substr(names.base_prefix.size());
    for (const std::string_view is_there : {std::string_view(name), bare}) {
      if (checkpoint.Has(is_there)) return std::string(is_there);
    }
  }
  return {};
}

}  // namespace

Status RefuseOtherFamilies(const Checkpoint& checkpoint, const ModelConfig& config) {
  for (const Family& family : ServedFamilies()) {
    const TensorNames names = family.names();
    if (names.decoder.self.prefix == config.names.decoder.self.prefix) continue;
    const std::string name = FirstOf(names, checkpoint);
    if (name.empty()) continue;
    return InvalidArgument(fmt::format(
        "{}: is a tensor of model_type \"{}\" ({}), but {} describes {}; give the "
        "directory of one model",
        checkpoint.Describe(name), family.model_type, family.models, config.file, config.name));
  }
  return OkStatus();
}

}  // namespace precis
