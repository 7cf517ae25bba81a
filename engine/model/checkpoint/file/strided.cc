#include "engine/model/checkpoint/file/strided.h"

#include <cstring>
#include <vector>

#include "common/check.h"

namespace precis {

std::optional<uint64_t> NumElements(std::span<const int64_t> shape) {
  uint64_t count = 1;
  bool empty = false;
  bool overflow = false;
  for (const int64_t dimension : shape) {
    empty |= dimension == 0;
    overflow |= __builtin_mul_overflow(count, static_cast<uint64_t>(dimension), &count);
  }
  if (empty) return 0;
  if (overflow) return std::nullopt;
  return count;
}

std::optional<uint64_t> SpannedElements(std::span<const int64_t> shape,
                                        std::span<const int64_t> strides) {
  uint64_t last = 0;
  bool overflow = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    uint64_t reach = 0;
    overflow |= __builtin_mul_overflow(static_cast<uint64_t>(shape[i]) - 1,
                                       static_cast<uint64_t>(strides[i]), &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  uint64_t count = 0;
  overflow |= __builtin_add_overflow(last, uint64_t{1}, &count);
  if (overflow) return std::nullopt;
  return count;
}

bool IsRowMajor(std::span<const int64_t> shape, std::span<const int64_t> strides) {
  uint64_t expected = 1;
  bool row_major = true;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return true;
    if (shape[i] == 1) continue;  // its stride leads nowhere
    row_major &= static_cast<uint64_t>(strides[i]) == expected;
    if (__builtin_mul_overflow(expected, static_cast<uint64_t>(shape[i]), &expected)) return false;
  }
  return row_major;
}

void Gather(std::span<const std::byte> spanned, uint64_t element_bytes,
            std::span<const int64_t> shape, std::span<const int64_t> strides, uint64_t first,
            std::span<std::byte> out) {
  std::vector<uint64_t> index(shape.size());  // of the next element
  uint64_t at = 0;                            // its place in `spanned`, in elements
  for (size_t i = shape.size(); i-- > 0;) {
    index[i] = first % static_cast<uint64_t>(shape[i]);
    first /= static_cast<uint64_t>(shape[i]);
    at += index[i] * static_cast<uint64_t>(strides[i]);
  }
  for (size_t done = 0; done < out.size(); done += element_bytes) {
    PRECIS_CHECK((at + 1) * element_bytes <= spanned.size());
    std::memcpy(&out[done], &spanned[at * element_bytes], element_bytes);
    for (size_t i = shape.size(); i-- > 0;) {
      at += static_cast<uint64_t>(strides[i]);
      if (++index[i] < static_cast<uint64_t>(shape[i])) break;
      at -= index[i] * static_cast<uint64_t>(strides[i]);
      index[i] = 0;
    }
  }
}

}  // namespace precis
