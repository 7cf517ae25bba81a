// What a model path is when it is no checkpoint that we read: a hub id, an adapter, a GGUF, a cache
// folder, weights of another framework. People meet this first, so each has a line that says what
// it is and what to do.
//
// Called before a checkpoint is opened. Thread rule: functions, no state.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "common/status.h"

namespace precis {

// A file of weights, or the index of several, by its name in a directory.
struct WeightFile {
  std::string_view name;
  bool is_torch;  // else safetensors
  bool is_index;
};
// The first of these that is there holds the weights, in transformers' order (5.5.4,
// modeling_utils.py).
std::span<const WeightFile> WeightFiles();

// OK where `dir` has a config.json and one of WeightFiles(), both readable and no git-LFS pointers;
// whether they are right is for those who read them. The error begins with the path.
Status CheckModelDirectory(const std::string& dir);

// What is there instead of weights that we read, of which `dir` has none. Never OK.
Status NoWeightsIn(const std::string& dir);

// OK unless the file at `path` is a git-LFS pointer, or a link to a file that is missing.
Status CheckRealFile(const std::string& path);

}  // namespace precis
