#include "engine/model/config/embedding_ties.h"

#include <array>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kShared = "shared.weight";
constexpr std::string_view kEncoder = "encoder.embed_tokens.weight";
constexpr std::string_view kDecoder = "decoder.embed_tokens.weight";
constexpr std::string_view kHead = "lm_head.weight";

// A name, and the stored tensor that it stands for; empty: none yet.
struct Tied {
  std::string_view name;
  std::string_view tensor;
};

}  // namespace

bool IsEmbedding(std::string_view name) {
  return name == kShared || name == kEncoder || name == kDecoder || name == kHead;
}

StatusOr<EmbeddingNames> ResolveEmbeddings(const Checkpoint& checkpoint,
                                           std::string_view model_type) {
  const auto stored = [&](std::string_view name) {
    return Tied{name, checkpoint.Has(name) ? name : std::string_view()};
  };
  // _tied_weights_keys of T5ForConditionalGeneration and MT5ForConditionalGeneration.
  std::array<Tied, 3> ties = {stored(kHead), stored(kEncoder), stored(kDecoder)};
  if (model_type == "mt5") ties = {ties[1], ties[2], ties[0]};
  Tied shared = stored(kShared);
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
                                checkpoint.Describe(kShared), kEncoder, kDecoder, kHead));
  }
  EmbeddingNames out;
  for (const Tied& tie : ties) {
    std::string& name = tie.name == kHead      ? out.lm_head
                        : tie.name == kEncoder ? out.encoder
                                               : out.decoder;
    name = tie.tensor;
  }
  return out;
}

}  // namespace precis
