#include "tools/convert/stored_values.h"

#include <cstring>

namespace precis {

StoredValues::StoredValues(std::string_view dtype_name) {
  if (dtype_name == "F32") {
    value_bytes_ = 4;
    exponent_ = 0x7f800000;
    magnitude_ = 0x7fffffff;
  } else if (dtype_name == "BF16" || dtype_name == "F16") {
    value_bytes_ = 2;
    exponent_ = dtype_name == "BF16" ? 0x7f80 : 0x7c00;
    magnitude_ = 0x7fff;
  }
}

void StoredValues::Add(std::span<const std::byte> bytes) {
  if (value_bytes_ == 4) AddAs<uint32_t>(bytes);
  if (value_bytes_ == 2) AddAs<uint16_t>(bytes);
}

template <typename Bits>
void StoredValues::AddAs(std::span<const std::byte> bytes) {
  for (size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits), ++seen_) {
    Bits bits;
    std::memcpy(&bits, &bytes[at], sizeof(bits));
    all_zero_ &= (bits & magnitude_) == 0;
    if ((bits & exponent_) == exponent_ && !first_bad_) first_bad_ = seen_;
  }
}

}  // namespace precis
