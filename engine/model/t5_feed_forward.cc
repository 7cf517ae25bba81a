#include "engine/model/t5_feed_forward.h"

namespace precis {

void AddFeedForward(const FeedForward& ffn, const ModelConfig& config,
                    const FeedForwardScratch& scratch, Backend& backend, float* x) {
  const auto kind = config.gated ? ActivationKind::kGatedGelu : ActivationKind::kRelu;
  backend.GemmOfNorm(
      {x, ffn.norm.data(), config.layer_norm_epsilon, scratch.normed, *ffn.wi, scratch.wide});
  backend.GemmOfActivated({kind, scratch.wide, scratch.hidden, *ffn.wo, x});
}

}  // namespace precis
