#include "engine/model/grouping/cached_norm.h"

#include <algorithm>

#include "fmt/format.h"

namespace precis {

StatusOr<std::vector<float>> ReadCachedNorm(Checkpoint& checkpoint,
                                            const ResolvedAttention& attention,
                                            const std::string& prefix) {
  if (!HasCachedNorm(attention.variant)) return std::vector<float>();
  const std::string name = prefix + "cached_norm";
  PRECIS_ASSIGN_OR_RETURN(std::vector<float> norms,
                          checkpoint.Read(name, {int64_t{attention.num_kv_heads}}));
  const auto negative = std::ranges::find_if(norms, [](float norm) { return norm < 0.0f; });
  if (negative == norms.end()) return norms;
  return InvalidArgument(fmt::format("{}: {} at index {} is negative, and no norm is",
                                     checkpoint.Describe(name), *negative,
                                     negative - norms.begin()));
}

}  // namespace precis
