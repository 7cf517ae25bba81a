#include "engine/model/families/tensor_names.h"

#include <algorithm>

#include "common/check.h"
#include "fmt/format.h"

namespace precis {

std::string TensorNames::DecoderAttention(uint32_t layer, bool cross) const {
  return OfLayer(cross ? decoder.cross.prefix : decoder.self.prefix, layer);
}

std::string TensorNames::Projection(std::string_view attention, char which) const {
  PRECIS_CHECK(which == 'q' || which == 'k' || which == 'v' || which == 'o');
  const std::string_view suffix = which == 'q' ? q : which == 'k' ? k : which == 'v' ? v : o;
  return std::string(attention).append(suffix);
}

bool TensorNames::IsEmbedding(std::string_view name) const {
  return name == embedding.shared || name == embedding.encoder || name == embedding.decoder ||
         name == embedding.lm_head;
}

bool TensorNames::IsProjection(std::string_view name) const {
  return std::ranges::any_of(std::array{q, k, v, o, in, gate, up, out}, [&](auto suffix) {
    return name.size() > suffix.size() && name.ends_with(suffix) &&
           name[name.size() - suffix.size() - 1] == '.';
  });
}

bool TensorNames::MayBeUnread(std::string_view name) const {
  return (name != embedding.shared && IsEmbedding(name)) || name == stray;
}

std::string BiasOf(std::string_view weight) {
  constexpr std::string_view kWeight = "weight";
  PRECIS_CHECK(weight.ends_with(kWeight));
  return std::string(weight.substr(0, weight.size() - kWeight.size())).append("bias");
}

std::string OfLayer(std::string_view name, uint32_t layer) {
  return fmt::format(fmt::runtime(name), layer);
}

}  // namespace precis
