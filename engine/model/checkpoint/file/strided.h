// Tensors that do not lie row-major, as torch stores transposed ones and slices: where their
// elements are, and how they come into order. Called by TensorFile and by who checks a file's
// tensors. Thread rule: functions, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace precis {

// Of a shape without negative numbers; nullopt where 64 bits do not count it.
std::optional<uint64_t> NumElements(std::span<const int64_t> shape);

// Elements from the first to behind the last one: 0 of an empty tensor, nullopt where 64 bits do
// not count them. `strides` are in elements, one for each dimension, none negative.
std::optional<uint64_t> SpannedElements(std::span<const int64_t> shape,
                                        std::span<const int64_t> strides);

// Whether the elements lie one behind the other in row-major order.
bool IsRowMajor(std::span<const int64_t> shape, std::span<const int64_t> strides);

// Fills `out` with whole elements in row-major order, from the element `first` on. `spanned` holds
// all SpannedElements().
void Gather(std::span<const std::byte> spanned, uint64_t element_bytes,
            std::span<const int64_t> shape, std::span<const int64_t> strides, uint64_t first,
            std::span<std::byte> out);

}  // namespace precis
