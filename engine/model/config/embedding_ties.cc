#include "engine/model/config/embedding_ties.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "fmt/format.h"

namespace precis {
namespace {

// A name, and the stored tensor that it stands for; empty: none yet.
struct Tied {
  std::string_view name;
  std::string_view tensor;
};

}  // namespace

StatusOr<EmbeddingNames> ResolveEmbeddings(const Checkpoint& checkpoint,
                                           const EmbeddingAliases& aliases) {
  const auto stored = [&](std::string_view name) {
    return Tied{name, checkpoint.Has(name) ? name : std::string_view()};
  };
  std::array<Tied, 3> ties;
  std::ranges::transform(aliases.ties, ties.begin(), stored);
  Tied shared = stored(aliases.shared);
  for (size_t i = 0; i < ties.size(); ++i) {
    Tied& tie = ties[i];
    if (!tie.tensor.empty() && !shared.tensor.empty()) {
      PRECIS_ASSIGN_OR_RETURN(const bool same, checkpoint.Same(tie.tensor, shared.tensor));
      if (same) tie.tensor = shared.tensor;
    } else if (!tie.tensor.empty()) {
      shared.tensor = tie.tensor;
    } else if (!shared.tensor.empty()) {
      tie.tensor = shared.tensor;
    } else {
      for (size_t j = i + 1; j < ties.size() && tie.tensor.empty(); ++j) {
        tie.tensor = ties[j].tensor;
      }
    }
  }
  if (shared.tensor.empty()) {
    return NotFound(fmt::format("{}: tensor is missing, and so are {}, {} and {}",
                                checkpoint.Describe(aliases.shared), aliases.encoder,
                                aliases.decoder, aliases.lm_head));
  }
  EmbeddingNames out;
  for (const Tied& tie : ties) {
    std::string& name = tie.name == aliases.lm_head   ? out.lm_head
                        : tie.name == aliases.encoder ? out.encoder
                                                      : out.decoder;
    name = tie.tensor;
  }
  return out;
}

}  // namespace precis
