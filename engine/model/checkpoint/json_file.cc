#include "engine/model/checkpoint/json_file.h"

#include <cmath>
#include <set>
#include <span>
#include <vector>

#include "engine/model/checkpoint/file/file_bytes.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr size_t kMaxShownBytes = 160;

// Watches the parser for what nlohmann lets pass: keys said twice (the last one would win) and
// nesting without end.
class StructureWatch {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) too_deep_ = true;
    const size_t level = static_cast<size_t>(depth);
    if (event == json::parse_event_t::object_start) {
      if (keys_.size() <= level + 1) keys_.resize(level + 2);
      keys_[level + 1].clear();
    } else if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (keys_.size() <= level) keys_.resize(level + 1);
      if (!keys_[level].insert(key).second && duplicate_.empty()) duplicate_ = key;
    }
    return !too_deep_;  // false drops the value, so that a bomb of brackets takes no memory
  }
  const std::string& duplicate() const { return duplicate_; }
  bool too_deep() const { return too_deep_; }

 private:
  std::vector<std::set<std::string>> keys_;  // of the open object at each depth
  std::string duplicate_;
  bool too_deep_ = false;
};

}  // namespace

StatusOr<std::string> ReadSmallFile(const std::string& path, uint64_t max_bytes) {
  PRECIS_ASSIGN_OR_RETURN(const FileBytes file, FileBytes::Open(path));
  if (file.size() > max_bytes) {
    return InvalidArgument(fmt::format("{}: {} bytes, more than the {} expected of such a file",
                                       path, file.size(), max_bytes));
  }
  std::string bytes(file.size(), '\0');
  const Status status = file.Read(0, std::as_writable_bytes(std::span(bytes)));
  if (!status.ok()) return Annotate(status, path);
  return bytes;
}

StatusOr<JsonFile> ReadJsonFile(const std::string& path, uint64_t max_bytes) {
  PRECIS_ASSIGN_OR_RETURN(const std::string bytes, ReadSmallFile(path, max_bytes));
  StructureWatch watch;
  json root = json::parse(bytes, std::ref(watch), /*allow_exceptions=*/false);
  if (watch.too_deep()) {
    return InvalidArgument(fmt::format("{}: nested deeper than {} levels", path, kMaxDepth));
  }
  if (root.is_discarded()) return InvalidArgument(fmt::format("{}: not valid JSON", path));
  if (!root.is_object()) return InvalidArgument(fmt::format("{}: not a JSON object", path));
  if (!watch.duplicate().empty()) {
    return InvalidArgument(
        fmt::format("{}: key \"{}\" is said twice", path, Shown(watch.duplicate())));
  }
  return JsonFile{path, std::move(root)};
}

std::string ShownJson(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMaxShownBytes) text = text.substr(0, kMaxShownBytes) + "...";
  return text;
}

const json* JsonKeys::Find(std::string_view key) const {
  const auto found = object_.find(std::string(key));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

Status JsonKeys::Error(std::string_view key, std::string_view message) const {
  return InvalidArgument(fmt::format("{}: {}{}: {}", file_, path_, key, message));
}

StatusOr<std::optional<uint32_t>> JsonKeys::Count(std::string_view key, uint32_t min,
                                                  uint32_t max) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<uint32_t>();
  if (value->is_number_unsigned()) {
    const uint64_t number = value->get<uint64_t>();
    if (number >= min && number <= max) return std::optional(static_cast<uint32_t>(number));
  }
  return Error(
      key, fmt::format("must be a whole number of {} to {}, not {}", min, max, ShownJson(*value)));
}

StatusOr<std::optional<double>> JsonKeys::Real(std::string_view key, double min, double max) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<double>();
  if (value->is_number()) {
    const double number = value->get<double>();
    if (std::isfinite(number) && number >= min && number <= max) return std::optional(number);
  }
  return Error(key,
               fmt::format("must be a number of {} to {}, not {}", min, max, ShownJson(*value)));
}

StatusOr<std::optional<bool>> JsonKeys::Bool(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<bool>();
  if (value->is_boolean()) return std::optional(value->get<bool>());
  return Error(key, fmt::format("must be true or false, not {}", ShownJson(*value)));
}

StatusOr<std::optional<std::string>> JsonKeys::Text(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (value->is_string()) return std::optional(value->get<std::string>());
  return Error(key, fmt::format("must be a string, not {}", ShownJson(*value)));
}

}  // namespace precis
