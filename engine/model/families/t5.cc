// T5 of every version, and what was made of it: FLAN-T5, FLAN-UL2, ByT5 (other tokens, the same
// model), MADLAD-400.
#include <optional>

#include "engine/model/families/family.h"
#include "engine/model/families/t5_common.h"

namespace precis {
namespace {

constexpr T5Defaults kDefaults = {.vocab_size = 32128,
                                  .d_model = 512,
                                  .d_kv = 64,
                                  .d_ff = 2048,
                                  .num_layers = 6,
                                  .num_heads = 8,
                                  .feed_forward_proj = "relu"};

// Its own key wins; a null there is no, and a null tie is none, as in transformers.
StatusOr<bool> ScalesLogits(const JsonKeys& config) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<bool> tied, config.Bool("tie_word_embeddings"));
  PRECIS_ASSIGN_OR_RETURN(const std::optional<bool> scale, config.Bool("scale_decoder_outputs"));
  const bool said = config.object().contains("scale_decoder_outputs");
  return said ? scale.value_or(false) : tied.value_or(true);
}

}  // namespace

StatusOr<Architecture> DescribeT5(const JsonKeys& config) {
  PRECIS_ASSIGN_OR_RETURN(Architecture out, DescribeT5Keys(config, kDefaults));
  out.name = out.gated ? "T5 v1.1" : "T5 v1.0";
  PRECIS_ASSIGN_OR_RETURN(const bool scales, ScalesLogits(config));
  if (scales) out.logits_scale = ScaleByWidth(out);
  return out;
}

}  // namespace precis
