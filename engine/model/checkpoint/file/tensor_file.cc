#include "engine/model/checkpoint/file/tensor_file.h"

#include <algorithm>
#include <bit>

#include "common/check.h"
#include "engine/model/checkpoint/file/shown.h"
#include "engine/model/checkpoint/file/strided.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Read, converted, checked and hashed while it is in the L2 cache.
constexpr size_t kChunkBytes = 256u << 10;
constexpr uint32_t kExponentF32 = 0x7f800000;

float Bf16ToF32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

float F16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in f32
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  const uint32_t rebiased = exponent == 0x1f ? 0xff : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (rebiased << 23) | (fraction << 13));
}

// Index of the first infinity or NaN, values.size() if there is none.
size_t FirstNonFinite(std::span<const float> values) {
  bool found = false;  // without a branch in the loop, so that it vectorises
  for (const float value : values) {
    found |= (std::bit_cast<uint32_t>(value) & kExponentF32) == kExponentF32;
  }
  if (!found) return values.size();
  size_t i = 0;
  while ((std::bit_cast<uint32_t>(values[i]) & kExponentF32) != kExponentF32) ++i;
  return i;
}

size_t BytesOf(StoredType type) { return type == StoredType::kF32 ? 4 : 2; }

}  // namespace

TensorFile::TensorFile(FileBytes file, std::vector<TensorEntry> tensors)
    : file_(std::move(file)), tensors_(std::move(tensors)) {
  std::ranges::sort(tensors_, {}, &TensorEntry::name);
}

const TensorEntry* TensorFile::Find(std::string_view name) const {
  const auto found =
      std::ranges::lower_bound(tensors_, name, std::ranges::less{},
                               [](const TensorEntry& e) -> std::string_view { return e.name; });
  return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

StatusOr<std::vector<float>> TensorFile::Read(const TensorEntry& entry, ContentHash* hash) const {
  if (entry.dtype == StoredType::kOther) {
    return Unimplemented(fmt::format("{}: {}: dtype {} is not served; F32, BF16 and F16 are",
                                     path(), Shown(entry.name), entry.dtype_name));
  }
  const size_t element_bytes = BytesOf(entry.dtype);
  const size_t chunk_elements = kChunkBytes / element_bytes;
  std::vector<float> values(entry.num_bytes() / element_bytes);
  std::vector<uint16_t> halves;
  for (size_t at = 0; at < values.size(); at += chunk_elements) {
    const std::span<float> part =
        std::span(values).subspan(at, std::min(chunk_elements, values.size() - at));
    if (entry.dtype != StoredType::kF32) halves.resize(part.size());
    const std::span<std::byte> bytes = entry.dtype == StoredType::kF32
                                           ? std::as_writable_bytes(part)
                                           : std::as_writable_bytes(std::span(halves));
    PRECIS_RETURN_IF_ERROR(ReadStored(entry, at * element_bytes, bytes));
    hash->Update(bytes);
    if (entry.dtype == StoredType::kBf16) std::ranges::transform(halves, part.begin(), Bf16ToF32);
    if (entry.dtype == StoredType::kF16) std::ranges::transform(halves, part.begin(), F16ToF32);
    const size_t bad = FirstNonFinite(part);
    if (bad < part.size()) {
      return InvalidArgument(fmt::format("{}: {}: value {} at index {} is not finite", path(),
                                         Shown(entry.name), part[bad], at + bad));
    }
  }
  return values;
}

Status TensorFile::ReadStored(const TensorEntry& entry, uint64_t offset,
                              std::span<std::byte> out) const {
  PRECIS_CHECK(offset <= entry.num_bytes() && out.size() <= entry.num_bytes() - offset);
  if (out.empty()) return OkStatus();
  const Status status = entry.strides.empty() ? file_.Read(entry.begin + offset, out)
                                              : ReadStrided(entry, offset, out);
  return status.ok() ? status : Annotate(status, fmt::format("{}: {}", path(), Shown(entry.name)));
}

Status TensorFile::ReadStrided(const TensorEntry& entry, uint64_t offset,
                               std::span<std::byte> out) const {
  const uint64_t element_bytes = entry.num_bytes() / *NumElements(entry.shape);
  PRECIS_CHECK(offset % element_bytes == 0 && out.size() % element_bytes == 0);
  PRECIS_ASSIGN_OR_RETURN(Spanned* const spanned, SpannedOf(entry, element_bytes));
  Gather(spanned->bytes, element_bytes, entry.shape, entry.strides, offset / element_bytes, out);
  if (offset + out.size() == entry.num_bytes()) *spanned = {};
  return OkStatus();
}

StatusOr<TensorFile::Spanned*> TensorFile::SpannedOf(const TensorEntry& entry,
                                                     uint64_t element_bytes) const {
  for (size_t i = 0; i < spanned_.size(); ++i) {
    if (spanned_[i].entry != &entry) continue;
    older_ = 1 - i;
    return &spanned_[i];
  }
  Spanned& spanned = spanned_[older_];
  spanned = {};  // before the next is claimed
  std::vector<std::byte> bytes(*SpannedElements(entry.shape, entry.strides) * element_bytes);
  PRECIS_RETURN_IF_ERROR(file_.Read(entry.begin, bytes));
  spanned = {&entry, std::move(bytes)};
  older_ = 1 - older_;
  return &spanned;
}

Status TensorFile::Hash(const TensorEntry& entry, ContentHash* hash) const {
  std::vector<std::byte> chunk(std::min<uint64_t>(kChunkBytes, entry.num_bytes()));
  for (uint64_t at = 0; at < entry.num_bytes(); at += kChunkBytes) {
    const auto part = std::span(chunk).first(
        static_cast<size_t>(std::min<uint64_t>(kChunkBytes, entry.num_bytes() - at)));
    PRECIS_RETURN_IF_ERROR(ReadStored(entry, at, part));
    hash->Update(part);
  }
  return OkStatus();
}

}  // namespace precis
