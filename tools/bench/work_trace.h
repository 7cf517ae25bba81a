// Traces of work for benchmarks: how long documents and their summaries are, without a word of
// them. Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace precis {

struct WorkItem {
  uint32_t source_tokens = 1;  // of the document, with </s>
  uint32_t new_tokens = 1;     // of its summary
  bool operator==(const WorkItem&) const = default;
};
using WorkTrace = std::vector<WorkItem>;

// Longest document and summary of a benchmark.
inline constexpr uint32_t kMostBenchSource = 1u << 17;
inline constexpr uint32_t kMostBenchNew = 1u << 16;

// A line "SOURCE,NEW" an item; empty lines and those that begin with # are skipped.
// INVALID_ARGUMENT naming `name` and the line.
StatusOr<WorkTrace> ParseTrace(std::string_view text, std::string_view name);

// NOT_FOUND where the file cannot be read.
StatusOr<WorkTrace> ReadTrace(const std::string& path);

// 64 real documents: what bench/trace.py wrote for the package descriptions and README files of a
// Debian 12 system, by the demo model's tokenizer; the sources up to 1024 tokens, half of them up
// to 92, summaries of 8 to 109.
const WorkTrace& DefaultTrace();

// `count` items, the trace again and again.
WorkTrace Repeated(const WorkTrace& trace, size_t count);

}  // namespace precis
