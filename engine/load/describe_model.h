// Fills a ModelInfo from what a checkpoint says; shared by the loader and `precis inspect`.
// Functions, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/api/model_info.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/config/model_config.h"
#include "engine/model/kv_layout.h"

namespace precis {

std::vector<uint32_t> KvHeadCounts(const std::vector<HeadGrouping>& layers);

// Everything but fingerprint, folded, numerics, weight and pool bytes.
ModelInfo DescribeModel(const std::string& model_dir, const ModelConfig& config,
                        const ResolvedAttention& attention, const KvLayout& layout);

}  // namespace precis
