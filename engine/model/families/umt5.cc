// umT5: mT5 with a position bias of its own in every layer. It always scales its logits: the config
// class of transformers 5.5.4 ties the embeddings, whatever the file says, and a tied one scales.
#include "engine/model/families/family.h"
#include "engine/model/families/t5_common.h"

namespace precis {
namespace {

constexpr T5Defaults kDefaults = {.vocab_size = 250112,
                                  .d_model = 512,
                                  .d_kv = 64,
                                  .d_ff = 1024,
                                  .num_layers = 8,
                                  .num_heads = 6,
                                  .feed_forward_proj = "gated-gelu"};

}  // namespace

StatusOr<Architecture> DescribeUmt5(const JsonKeys& config) {
  PRECIS_ASSIGN_OR_RETURN(Architecture out, DescribeT5Keys(config, kDefaults));
  out.name = "umT5";
  out.names = Mt5Names();
  out.position_bias->per_layer = true;
  out.logits_scale = ScaleByWidth(out);
  return out;
}

}  // namespace precis
