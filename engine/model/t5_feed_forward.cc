#include "engine/model/t5_feed_forward.h"

namespace precis {

void AddFeedForward(const FeedForward& ffn, const ModelConfig& config,
                    const FeedForwardScratch& scratch, Backend& backend, float* x) {
  backend.RmsNorm(x, ffn.norm.data(), config.layer_norm_epsilon, scratch.normed);
  backend.Gemm(scratch.normed, *ffn.wi, false, scratch.wide);
  backend.Activate(config.gated ? ActivationKind::kGatedGelu : ActivationKind::kRelu, scratch.wide,
                   scratch.hidden);
  backend.Gemm(scratch.hidden, *ffn.wo, true, x);
}

}  // namespace precis
