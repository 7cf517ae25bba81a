// The tokenizer.json of a byte-level BPE, but for its vocabulary and merges: what would change ids
// is refused by name. Called by the reader of its files. Thread rule: functions of their arguments.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/status.h"
#include "nlohmann/json.hpp"

namespace precis {

// A token and its id.
struct NamedId {
  std::string text;
  uint64_t id = 0;
  bool operator==(const NamedId&) const = default;
};

// What stands around a source.
struct SourceTokens {
  std::optional<NamedId> before;
  NamedId after;
  bool operator==(const SourceTokens&) const = default;
};

struct BpePipeline {
  bool add_prefix_space = false;
  std::optional<SourceTokens> around;  // the post_processor's, where there is one
};

// Errors name the key. A missing decoder counts as ByteLevel where `rebuilt`: transformers sets it.
StatusOr<BpePipeline> ParseBpePipeline(const nlohmann::json& root, bool rebuilt);

}  // namespace precis
