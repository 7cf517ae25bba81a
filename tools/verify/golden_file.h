// golden.json as data: what a correct engine makes of a checkpoint (tests/golden/README.md).
// Values, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "engine/api/generation.h"

namespace precis {

struct GoldenRow {
  uint32_t position = 0;
  std::vector<float> head8;
  std::vector<float> tail8;
};

// Samples of the encoder's output [tokens, d_model].
struct GoldenEncoder {
  std::vector<GoldenRow> rows;
  double mean = 0;
  double abs_mean = 0;
};

struct GoldenLogits {
  std::vector<std::pair<uint32_t, std::vector<float>>> rows;  // position, [vocab]
  std::vector<std::vector<int32_t>> top_ids;                  // [positions][5]
  std::vector<std::vector<float>> top_values;
};

// How many query heads each KV head serves in one decoder attention.
struct GoldenSplits {
  uint32_t layer = 0;
  bool cross = false;
  std::vector<std::vector<uint32_t>> positions;  // cross: one for all
};

struct GoldenRun {
  std::string name;           // "greedy", "greedy_more 0", "beams 1", "defaults"
  std::string problem;        // why it cannot be run; empty if it can
  bool as_files_say = false;  // with the options of the checkpoint's files alone
  GenerationOverrides options;
  std::vector<std::vector<int32_t>> sequences;  // start token first, </s> last unless cut
  std::vector<double> scores;                   // beams only
};

struct GoldenCase {
  std::string name;
  std::optional<std::string> text;
  std::optional<uint32_t> max_source_length;
  std::vector<int32_t> input_ids;
  std::optional<GoldenEncoder> encoder;
  std::vector<int32_t> decoder_input_ids;
  std::optional<GoldenLogits> logits;
  std::vector<GoldenSplits> head_splits;  // where they follow the keys
  std::vector<GoldenRun> runs;
};

struct GoldenFile {
  std::vector<GoldenCase> cases;
  // One document each, with the ids it must give among the others of its batch.
  std::vector<GoldenCase> batched;
};

// NOT_FOUND where there is no such file; the error names the file and the case.
StatusOr<GoldenFile> LoadGolden(const std::string& path);

}  // namespace precis
