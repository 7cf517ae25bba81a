// Reads the fields of one protocol buffer message, for files too simple to need generated code.
// Owner: whoever parses. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "common/status.h"
#include "fmt/format.h"

namespace precis {

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  // Moves to the next field. False at the end and at an error; status() tells which.
  bool Next() {
    if (!status_.ok() || at_ == bytes_.size()) return false;
    varint_ = 0;
    payload_ = {};
    const size_t start = at_;
    uint64_t tag = 0;
    if (!ReadVarint(&tag) || tag >> 3 == 0 || tag >> 35 != 0 || !ReadValue(tag & 7)) {
      status_ = InvalidArgument(fmt::format("broken field at byte {}", start));
      return false;
    }
    field_ = static_cast<uint32_t>(tag >> 3);
    return true;
  }

  uint32_t field() const { return field_; }
  // The value of the current field; 0 or empty when it was written as another wire type.
  uint64_t AsVarint() const { return varint_; }
  std::string_view AsBytes() const { return is_bytes_ ? payload_ : std::string_view(); }
  float AsFloat() const {
    float value = 0;
    if (!is_bytes_ && payload_.size() == sizeof value) {
      std::memcpy(&value, payload_.data(), sizeof value);  // little-endian, as every target of ours
    }
    return value;
  }
  const Status& status() const { return status_; }

 private:
  bool ReadVarint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool Take(uint64_t count) {
    if (count > bytes_.size() - at_) return false;
    payload_ = bytes_.substr(at_, count);
    at_ += count;
    return true;
  }

  bool ReadValue(uint64_t wire_type) {
    is_bytes_ = wire_type == 2;
    uint64_t length = 0;
    switch (wire_type) {
      case 0:
        return ReadVarint(&varint_);
      case 1:
        return Take(8);
      case 2:
        return ReadVarint(&length) && Take(length);
      case 5:
        return Take(4);
      default:  // groups: no file of ours has them
        return false;
    }
  }

  std::string_view bytes_;
  size_t at_ = 0;
  uint32_t field_ = 0;
  bool is_bytes_ = false;
  uint64_t varint_ = 0;
  std::string_view payload_;
  Status status_;
};

}  // namespace precis
