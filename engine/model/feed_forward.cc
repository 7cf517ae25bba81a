#include "engine/model/feed_forward.h"

namespace precis {

void AddFeedForward(const FeedForward& ffn, const Architecture& arch,
                    const FeedForwardScratch& scratch, const Activations& out, Backend& backend,
                    float* x) {
  const bool before = arch.norm_place == NormPlace::kBefore;
  if (before) {
    backend.GemmOfNorm({x, ffn.norm.Of(arch), scratch.normed, *ffn.wi, scratch.wide});
  } else {
    backend.Gemm({scratch.normed, *ffn.wi, false, scratch.wide});
  }
  backend.GemmOfActivated({arch.activation, arch.gated, scratch.wide, scratch.hidden, *ffn.wo, x});
  if (!before) backend.Norm({x, ffn.norm.Of(arch), out, x});
}

}  // namespace precis
