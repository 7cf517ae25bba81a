// QCQA's search (Joshi et al. 2024): which heads of one attention should share a KV head, by an
// evolution in the manner of NSGA-II over partitions with two aims, few groups and a small weight
// error. Called for each decoder attention. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/convert/head_similarity.h"

namespace precis {

struct FoundPartition {
  HeadGrouping grouping;
  double error = 0;
};

struct SearchOptions {
  uint32_t population = 0;     // 0: by the number of heads
  uint32_t generations = 150;  // time rises with it
  uint64_t seed = 1;
};

// [g - 1]: the best partition into g groups that was found, for g of 1 to the number of heads.
// Errors never rise with g. None is worse than neighbouring heads in groups as equal as possible.
// The same seed finds the same.
std::vector<FoundPartition> SearchPartitions(const HeadDistances& distances,
                                             const SearchOptions& options);

}  // namespace precis
