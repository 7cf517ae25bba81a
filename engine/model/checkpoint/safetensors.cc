#include "engine/model/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "common/check.h"
#include "engine/model/checkpoint/json_file.h"
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

SafetensorsFile::~SafetensorsFile() { ::close(fd_); }

StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;  // what is called below may change it
    const std::string message = fmt::format("{}: {}", path, std::strerror(error));
    return error == ENOENT ? NotFound(message) : FailedPrecondition(message);
  }
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile(path, fd));
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return FailedPrecondition(fmt::format("{}: not a regular file", path));
  }
  if (Status status = file->ReadHeader(static_cast<uint64_t>(info.st_size)); !status.ok()) {
    return Annotate(status, path);
  }
  return file;
}

Status SafetensorsFile::ReadHeader(uint64_t file_bytes) {
  uint64_t header_bytes = 0;
  if (file_bytes < sizeof(header_bytes)) {
    return DataLoss(fmt::format("{} bytes are too few for a safetensors file", file_bytes));
  }
  PRECIS_RETURN_IF_ERROR(Pread(0, std::as_writable_bytes(std::span(&header_bytes, 1))));
  const uint64_t rest = file_bytes - sizeof(header_bytes);
  if (header_bytes > rest) {
    return DataLoss(fmt::format("header of {} bytes in a file of {}: truncated, or no safetensors",
                                header_bytes, file_bytes));
  }
  if (header_bytes > kMaxSafetensorsHeaderBytes) {
    return InvalidArgument(fmt::format("header of {} bytes is larger than {}", header_bytes,
                                       kMaxSafetensorsHeaderBytes));
  }
  std::string header(header_bytes, '\0');
  PRECIS_RETURN_IF_ERROR(Pread(sizeof(header_bytes), std::as_writable_bytes(std::span(header))));
  data_offset_ = sizeof(header_bytes) + header_bytes;
  PRECIS_ASSIGN_OR_RETURN(tensors_, ParseSafetensorsHeader(header, rest - header_bytes));
  return OkStatus();
}

const TensorEntry* SafetensorsFile::Find(std::string_view name) const {
  const auto found =
      std::ranges::lower_bound(tensors_, name, std::ranges::less{},
                               [](const TensorEntry& e) -> std::string_view { return e.name; });
  return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

StatusOr<std::vector<float>> SafetensorsFile::Read(const TensorEntry& entry,
                                                   ContentHash* hash) const {
  const std::string where = fmt::format("{}: {}", path_, Shown(entry.name));
  if (entry.dtype == StoredType::kOther) {
    return Unimplemented(
        fmt::format("{}: dtype {} is not served; F32, BF16 and F16 are", where, entry.dtype_name));
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
    if (Status status = Pread(data_offset_ + entry.begin + at * element_bytes, bytes);
        !status.ok()) {
      return Annotate(status, where);
    }
    hash->Update(bytes);
    if (entry.dtype == StoredType::kBf16) std::ranges::transform(halves, part.begin(), Bf16ToF32);
    if (entry.dtype == StoredType::kF16) std::ranges::transform(halves, part.begin(), F16ToF32);
    const size_t bad = FirstNonFinite(part);
    if (bad < part.size()) {
      return InvalidArgument(
          fmt::format("{}: value {} at index {} is not finite", where, part[bad], at + bad));
    }
  }
  return values;
}

Status SafetensorsFile::ReadStored(const TensorEntry& entry, uint64_t offset,
                                   std::span<std::byte> out) const {
  PRECIS_CHECK(offset <= entry.num_bytes() && out.size() <= entry.num_bytes() - offset);
  const Status status = Pread(data_offset_ + entry.begin + offset, out);
  return status.ok() ? status : Annotate(status, fmt::format("{}: {}", path_, Shown(entry.name)));
}

Status SafetensorsFile::Hash(const TensorEntry& entry, ContentHash* hash) const {
  std::vector<std::byte> chunk(std::min<uint64_t>(kChunkBytes, entry.num_bytes()));
  for (uint64_t at = 0; at < entry.num_bytes(); at += kChunkBytes) {
    const auto part = std::span(chunk).first(
        static_cast<size_t>(std::min<uint64_t>(kChunkBytes, entry.num_bytes() - at)));
    if (Status status = Pread(data_offset_ + entry.begin + at, part); !status.ok()) {
      return Annotate(status, fmt::format("{}: {}", path_, Shown(entry.name)));
    }
    hash->Update(part);
  }
  return OkStatus();
}

Status SafetensorsFile::Pread(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DataLoss(fmt::format("read at {}: {}", offset, std::strerror(errno)));
    if (n == 0) return DataLoss(fmt::format("the file ends at byte {}", offset));
    offset += static_cast<uint64_t>(n);
    out = out.subspan(static_cast<size_t>(n));
  }
  return OkStatus();
}

}  // namespace precis
