#include "engine/model/feed_forward.h"

#include "common/check.h"

namespace precis {
namespace {

// The families refuse other pairs.
ActivationKind KindOf(const Architecture& arch) {
  PRECIS_CHECK(arch.gated == (arch.activation == Activation::kGeluTanh));
  return arch.gated ? ActivationKind::kGatedGelu : ActivationKind::kRelu;
}

}  // namespace

void AddFeedForward(const FeedForward& ffn, const Architecture& arch,
                    const FeedForwardScratch& scratch, Backend& backend, float* x) {
  const auto kind = KindOf(arch);
  backend.GemmOfNorm(
      {x, ffn.norm.data(), arch.norm_epsilon, scratch.normed, *ffn.wi, scratch.wide});
  backend.GemmOfActivated({kind, scratch.wide, scratch.hidden, *ffn.wo, x});
}

}  // namespace precis
