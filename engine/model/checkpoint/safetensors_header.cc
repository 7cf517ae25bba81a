#include "engine/model/checkpoint/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>

#include "engine/model/checkpoint/file/shown.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using nlohmann::json;

struct DType {
  std::string_view name;
  StoredType type;
  uint64_t bytes;
};
// All the format knows; what we do not read may lie in a file beside what we do.
constexpr DType kDTypes[] = {
    {"F32", StoredType::kF32, 4},       {"BF16", StoredType::kBf16, 2},
    {"F16", StoredType::kF16, 2},       {"F64", StoredType::kOther, 8},
    {"I64", StoredType::kOther, 8},     {"U64", StoredType::kOther, 8},
    {"I32", StoredType::kOther, 4},     {"U32", StoredType::kOther, 4},
    {"I16", StoredType::kOther, 2},     {"U16", StoredType::kOther, 2},
    {"I8", StoredType::kOther, 1},      {"U8", StoredType::kOther, 1},
    {"BOOL", StoredType::kOther, 1},    {"F8_E4M3", StoredType::kOther, 1},
    {"F8_E5M2", StoredType::kOther, 1},
};
constexpr size_t kMaxRank = 16;

// Builds the entries while the parser runs, so that a hostile header costs no more memory than its
// own length and cannot hide a key said twice.
class HeaderSax final : public nlohmann::json_sax<json> {
 public:
  std::string error;
  std::vector<TensorEntry> entries;

  bool key(string_t& name) override {
    if (state_ == State::kTop) return TopKey(name);
    if (state_ == State::kTensor) return TensorKey(name);
    return state_ == State::kMetadata || Fail("nested too deep");
  }
  bool start_object(std::size_t) override {
    if (state_ == State::kStart) return Enter(State::kTop);
    if (state_ == State::kTop) return Enter(in_metadata_ ? State::kMetadata : State::kTensor);
    return Unexpected("an object");
  }
  bool end_object() override {
    if (state_ == State::kTensor && seen_ != kAllFields) {
      return Fail("lacks one of dtype, shape, data_offsets");
    }
    return Enter(state_ == State::kTop ? State::kDone : State::kTop);
  }
  bool start_array(std::size_t) override {
    if (state_ == State::kTensor && field_ == kShape) return Enter(State::kShape);
    if (state_ == State::kTensor && field_ == kOffsets) return Enter(State::kOffsets);
    return Unexpected("a list");
  }
  bool end_array() override {
    if (state_ == State::kOffsets) {
      if (offsets_.size() != 2) return Fail("data_offsets is no pair");
      if (offsets_[0] > offsets_[1]) {
        return Fail(
            fmt::format("data_offsets [{}, {}] end before they begin", offsets_[0], offsets_[1]));
      }
      entries.back().begin = offsets_[0];
      entries.back().end = offsets_[1];
    }
    return Enter(State::kTensor);
  }
  bool string(string_t& text) override {
    if (state_ == State::kMetadata) return true;
    if (state_ != State::kTensor || field_ != kDType) return Unexpected("a string");
    for (const DType& known : kDTypes) {
      if (known.name != text) continue;
      entries.back().dtype = known.type;
      entries.back().dtype_name = text;
      type_bytes_.push_back(known.bytes);
      return true;
    }
    return Fail(fmt::format("dtype \"{}\" is unknown", Shown(text)));
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (state_ == State::kShape) {
      if (number > uint64_t{std::numeric_limits<int64_t>::max()}) return Fail("shape too large");
      if (entries.back().shape.size() == kMaxRank) return Fail("shape has too many dimensions");
      entries.back().shape.push_back(static_cast<int64_t>(number));
      return true;
    }
    if (state_ != State::kOffsets) return Unexpected("a number");
    if (offsets_.size() == 2) return Fail("data_offsets is no pair");
    offsets_.push_back(number);
    return true;
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a truth value"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a number that is not whole");
  }
  bool binary(binary_t&) override { return Unexpected("bytes"); }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    error = fmt::format("header is not valid JSON at byte {}", position);
    return false;
  }

  // Of entries[i], as long as they keep their order.
  uint64_t type_bytes(size_t i) const { return type_bytes_[i]; }

 private:
  enum class State { kStart, kTop, kTensor, kShape, kOffsets, kMetadata, kDone };
  static constexpr unsigned kDType = 1, kShape = 2, kOffsets = 4, kAllFields = 7;

  bool Enter(State state) {
    state_ = state;
    return true;
  }
  bool Fail(std::string_view message) {
    const bool of_tensor = !in_metadata_ && !entries.empty();
    error = of_tensor ? fmt::format("{}: {}", Shown(entries.back().name), message)
                      : fmt::format("header: {}", message);
    return false;
  }
  bool Unexpected(std::string_view what) {
    return Fail(fmt::format("{} where none belongs", what));
  }
  bool TopKey(const std::string& name) {
    in_metadata_ = name == "__metadata__";
    if (in_metadata_) {
      if (had_metadata_) return Fail("__metadata__ is there twice");
      had_metadata_ = true;
      return true;
    }
    entries.emplace_back().name = name;
    seen_ = field_ = 0;
    offsets_.clear();
    return true;
  }
  bool TensorKey(const std::string& name) {
    field_ = name == "dtype" ? kDType : name == "shape" ? kShape : 0u;
    if (name == "data_offsets") field_ = kOffsets;
    if (field_ == 0) return Fail(fmt::format("unknown key \"{}\"", Shown(name)));
    if ((seen_ & field_) != 0) return Fail(fmt::format("key \"{}\" is said twice", name));
    seen_ |= field_;
    return true;
  }

  State state_ = State::kStart;
  bool in_metadata_ = false;
  bool had_metadata_ = false;
  unsigned field_ = 0;  // whose value comes next
  unsigned seen_ = 0;
  std::vector<uint64_t> offsets_;
  std::vector<uint64_t> type_bytes_;
};

Status CheckBytes(const TensorEntry& entry, uint64_t type_bytes, uint64_t data_bytes) {
  const std::string name = Shown(entry.name);
  if (entry.end > data_bytes) {
    return DataLoss(fmt::format("{}: data_offsets [{}, {}] reach beyond the {} bytes of data", name,
                                entry.begin, entry.end, data_bytes));
  }
  uint64_t bytes = type_bytes;
  for (const int64_t dimension : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(dimension), &bytes)) {
      return InvalidArgument(fmt::format("{}: shape has more bytes than 64 bits count", name));
    }
  }
  if (bytes == entry.num_bytes()) return OkStatus();
  return InvalidArgument(fmt::format("{}: shape and dtype {} need {} bytes, data_offsets have {}",
                                     name, entry.dtype_name, bytes, entry.num_bytes()));
}

// The format forbids holes: what no tensor covers is either a lie or a place to hide things.
Status CheckLayout(std::span<const TensorEntry> entries, uint64_t data_bytes) {
  std::vector<const TensorEntry*> order;
  for (const TensorEntry& entry : entries) order.push_back(&entry);
  std::ranges::sort(order, {}, [](const TensorEntry* e) { return std::pair(e->begin, e->end); });
  uint64_t covered = 0;
  for (const TensorEntry* entry : order) {
    if (entry->begin != covered) {
      return InvalidArgument(fmt::format(
          "{}: data begin at {}, {} {}", Shown(entry->name), entry->begin,
          entry->begin < covered ? "inside another tensor that ends at" : "after a hole from",
          covered));
    }
    covered = entry->end;
  }
  if (covered == data_bytes) return OkStatus();
  return InvalidArgument(fmt::format("header covers {} of {} bytes of data", covered, data_bytes));
}

}  // namespace

StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(std::string_view text,
                                                          uint64_t data_bytes) {
  HeaderSax sax;
  if (!json::sax_parse(text, &sax) || !sax.error.empty()) {
    return InvalidArgument(sax.error.empty() ? "header is not valid JSON" : sax.error);
  }
  for (size_t i = 0; i < sax.entries.size(); ++i) {
    PRECIS_RETURN_IF_ERROR(CheckBytes(sax.entries[i], sax.type_bytes(i), data_bytes));
  }
  PRECIS_RETURN_IF_ERROR(CheckLayout(sax.entries, data_bytes));
  std::vector<TensorEntry> entries = std::move(sax.entries);
  std::ranges::sort(entries, {}, &TensorEntry::name);
  const auto twice = std::ranges::adjacent_find(entries, {}, &TensorEntry::name);
  if (twice != entries.end()) {
    return InvalidArgument(fmt::format("{}: is in the header twice", Shown(twice->name)));
  }
  return entries;
}

}  // namespace precis
