// From the words of a conversion to what it will make: how many KV heads, and which heads share
// one. Called by the conversion. Thread rule: functions; one thread.
#pragma once

#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "kernels/dtype.h"
#include "tools/convert/convert.h"
#include "tools/convert/convert_plan.h"
#include "tools/convert/convert_work.h"

namespace precis {

struct ChosenTarget {
  ConvertTarget target;
  ResolvedAttention fold;  // how K and V of the source fold where they do
  std::vector<CapacityPoint> curve;
  double curve_kv_heads = 0;  // the point of the curve that was taken
};

// What can be refused by words alone: unknown variants, flags that exclude each other.
Status CheckWords(const ConvertOptions& options);

// Errors name the flag, or file and tensor or key. `work` receives the attentions that are
// searched.
StatusOr<ChosenTarget> ChooseTarget(const ConvertOptions& options, Checkpoint& checkpoint,
                                    const ModelConfig& config, const ResolvedAttention& source,
                                    ConvertWork& work);

// Whether ChooseTarget has a phase of work before the writing.
bool NeedsSearch(const ConvertOptions& options);

// Bytes that a token keeps with one KV head in each decoder layer.
uint64_t BytesOfOneHead(const ModelConfig& config, DType kv_dtype, AttentionVariant variant);

}  // namespace precis
