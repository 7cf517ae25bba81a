// mT5: T5 v1.1 with a vocabulary of many languages. No mT5 scales its logits, whatever its file
// says of ties.
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

StatusOr<Architecture> DescribeMt5(const JsonKeys& config) {
  PRECIS_ASSIGN_OR_RETURN(Architecture out, DescribeT5Keys(config, kDefaults));
  out.name = out.gated ? "mT5 v1.1" : "mT5 v1.0";
  out.names = Mt5Names();
  return out;
}

}  // namespace precis
