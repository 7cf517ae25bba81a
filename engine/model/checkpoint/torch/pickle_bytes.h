// The bytes of a pickle, read forward from a place in a file. A pickle does not say how long it is,
// so it is read through a small window.
//
// Owner: who reads the pickle; the file must outlive it. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"
#include "engine/model/checkpoint/file/file_bytes.h"

namespace precis {

constexpr uint64_t kMaxPickleBytes = 64u << 20;  // of all that one PickleBytes hands over

class PickleBytes {
 public:
  PickleBytes(const FileBytes& file, uint64_t begin, uint64_t end)
      : file_(file), begin_(begin), end_(end), window_at_(begin) {}

  uint64_t position() const { return window_at_ + used_; }  // in the file
  // The next `count` bytes, valid until the next call. Checked before anything is claimed.
  StatusOr<std::string_view> Take(uint64_t count);
  // Little-endian, of 1, 2, 4 or 8 bytes.
  StatusOr<uint64_t> TakeNumber(size_t count);
  // Up to a line feed, which is taken and left out.
  StatusOr<std::string> TakeLine();

 private:
  const FileBytes& file_;
  const uint64_t begin_;
  const uint64_t end_;
  std::string window_;
  uint64_t window_at_;  // of window_[0] in the file
  size_t used_ = 0;     // of window_
};

}  // namespace precis
