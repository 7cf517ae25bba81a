// Fills a ModelInfo from what a checkpoint says; shared by the loader and `precis inspect`.
// Functions, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/grouping/attention_variant.h"
#include "engine/model/kv_layout.h"
#include "engine/model/checkpoint/model_config.h"
#include "engine/api/model_info.h"

namespace precis {

std::vector<uint32_t> KvHeadCounts(const std::vector<HeadGrouping>& layers);

// Everything but fingerprint, folded, numerics, weight and pool bytes.
ModelInfo DescribeModel(const std::string& model_dir, const ModelConfig& config,
                        const ResolvedAttention& attention, const KvLayout& layout);

}  // namespace precis
