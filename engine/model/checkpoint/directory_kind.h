// What a model path is when it is no checkpoint that we read: a hub id, an adapter, a GGUF, a cache
// folder, weights of another framework. People meet this first, so each has a line that says what
// it is and what to do.
//
// Called before a checkpoint is opened. Thread rule: functions, no state.
#pragma once

#include <string>

#include "common/status.h"

namespace precis {

// OK where `dir` has a config.json and weights as safetensors, both readable and no git-LFS
// pointers; whether they are right is for those who read them. The error begins with the path.
Status CheckModelDirectory(const std::string& dir);

// What is there instead of weights as safetensors, of which `dir` has none. Never OK.
Status NoWeightsIn(const std::string& dir);

// OK unless the file at `path` is a git-LFS pointer, or a link to a file that is missing.
Status CheckRealFile(const std::string& path);

}  // namespace precis
