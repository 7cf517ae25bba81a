#include "engine/model/feed_forward.h"

#include "engine/model/sublayer.h"

namespace precis {

void AddFeedForward(const FeedForward& ffn, const Architecture& arch,
                    const FeedForwardScratch& scratch, const Activations& out, Backend& backend,
                    float* x) {
  EnterSublayer(ffn.norm, arch, x, scratch.normed, *ffn.wi, backend, scratch.wide);
  backend.GemmOfActivated({arch.activation, arch.gated, scratch.wide, scratch.hidden, *ffn.wo, x});
  LeaveSublayer(ffn.norm, arch, out, backend, x);
}

}  // namespace precis
