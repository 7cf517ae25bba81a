// A JSON file of a checkpoint, read whole, and typed look-ups whose errors name file and key.
// Used inside engine/model only; nlohmann's exceptions end here. Values, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "engine/model/checkpoint/file/shown.h"
#include "nlohmann/json.hpp"

namespace precis {

struct JsonFile {
  std::string path;
  nlohmann::json root;  // an object
};

// All bytes of a regular file of at most `max_bytes`. NOT_FOUND if there is none.
StatusOr<std::string> ReadSmallFile(const std::string& path, uint64_t max_bytes);

// Refuses what is not an object, a key said twice, and nesting deeper than a config has.
StatusOr<JsonFile> ReadJsonFile(const std::string& path, uint64_t max_bytes);

// A value of unknown origin for a one-line message: escaped and cut to a bounded length.
std::string ShownJson(const nlohmann::json& value);

// The members of one JSON object. null counts as absent, as in transformers.
class JsonKeys {
 public:
  // `path` is the object's own place in the file: "" or "task_specific_params.summarization.".
  JsonKeys(std::string file, std::string path, const nlohmann::json& object)
      : file_(std::move(file)), path_(std::move(path)), object_(object) {}

  const nlohmann::json* Find(std::string_view key) const;  // nullptr: absent
  StatusOr<std::optional<uint32_t>> Count(std::string_view key, uint32_t min, uint32_t max) const;
  StatusOr<std::optional<double>> Real(std::string_view key, double min, double max) const;
  StatusOr<std::optional<bool>> Bool(std::string_view key) const;
  StatusOr<std::optional<std::string>> Text(std::string_view key) const;
  // "dir/config.json: num_heads: message".
  Status Error(std::string_view key, std::string_view message) const;

  const std::string& file() const { return file_; }
  const std::string& path() const { return path_; }
  const nlohmann::json& object() const { return object_; }

 private:
  std::string file_;
  std::string path_;
  const nlohmann::json& object_;
};

}  // namespace precis
