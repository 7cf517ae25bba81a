// What is said of a source that is too long, and what a request can do about it. Thread rule: pure
// functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "fmt/format.h"

namespace precis {

inline constexpr char kReadOtherwise[] =
    "set long_document_policy: truncate reads its beginning, windows reads all of it";
inline constexpr char kSendInParts[] = "send it in parts";

// The longest source, and how many positions the model has for one (0: any number).
struct SourceLimit {
  uint32_t tokens = 0;
  uint32_t positions = 0;
};

// "has 1200 tokens, the limit is 1024 (the model's positions); ..."
inline std::string SourceTooLong(size_t tokens, const SourceLimit& limit) {
  const char* whose =
      limit.tokens == limit.positions ? "the model's positions" : "--max-source-tokens";
  return fmt::format("has {} tokens, the limit is {} ({}); {}", tokens, limit.tokens, whose,
                     kReadOtherwise);
}

}  // namespace precis
