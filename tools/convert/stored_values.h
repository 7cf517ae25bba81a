// What is wrong with the values of a tensor, seen while its stored bytes go by. Called by the
// conversion for what it copies. Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace precis {

class StoredValues {
 public:
  // Types other than F32, BF16 and F16 are no weights, and not looked into.
  explicit StoredValues(std::string_view dtype_name);

  void Add(std::span<const std::byte> bytes);  // whole values

  std::optional<uint64_t> first_bad() const { return first_bad_; }  // infinite or NaN
  bool all_zero() const { return value_bytes_ != 0 && all_zero_; }

 private:
  template <typename Bits>
  void AddAs(std::span<const std::byte> bytes);

  size_t value_bytes_ = 0;  // 0: not looked into
  uint32_t exponent_ = 0;   // its bits, all set in what is not finite
  uint32_t magnitude_ = 0;  // all bits but the sign
  uint64_t seen_ = 0;
  std::optional<uint64_t> first_bad_;
  bool all_zero_ = true;
};

}  // namespace precis
