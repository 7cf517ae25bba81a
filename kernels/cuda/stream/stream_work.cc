#include "kernels/cuda/stream/stream_work.h"

#include <cstring>

#include "common/check.h"
#include "fmt/format.h"

namespace precis::cuda {
namespace {

// A decode step of a large model has some 500 launches of some 100 bytes. What is more is issued in
// parts.
constexpr size_t kMostBytes = 256 << 10;
constexpr size_t kMostCopies = 256;

constexpr size_t Padded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15;
  return hash ^ (hash >> 32);
}

}  // namespace

Status DeviceStatus(cudaError_t error, std::string_view what, absl::StatusCode code) {
  if (error == cudaSuccess) return OkStatus();
  return Status(
      code, fmt::format("{}: {} ({})", what, cudaGetErrorName(error), cudaGetErrorString(error)));
}

StreamWork::StreamWork() {
  copies_.reserve(kMostCopies);
  launches_.reserve(kMostBytes);
}

bool StreamWork::HasRoom(size_t bytes) const {
  return copies_.size() < kMostCopies &&
         launches_.size() + sizeof(Header) + Padded(bytes, kAlignment) <= kMostBytes;
}

// Neighbours are one copy, all that they take up: where they grow a little it stays the same.
void StreamWork::Copy(const Staging::Block& block) {
  const size_t bytes = Staging::BlockBytes(block.bytes);
  if (!copies_.empty()) {
    Range& last = copies_.back();
    if (last.host + last.bytes == block.host && last.device + last.bytes == block.device) {
      last.bytes += bytes;
      return;
    }
  }
  PRECIS_CHECK(copies_.size() < kMostCopies);
  copies_.push_back({block.host, block.device, bytes});
}

std::byte* StreamWork::Append(Runner run, uint32_t variant, size_t bytes) {
  PRECIS_CHECK(HasRoom(bytes));
  const size_t padded = Padded(bytes, kAlignment);
  const size_t begin = launches_.size();
  launches_.resize(begin + sizeof(Header) + padded);
  const Header header{run, variant, static_cast<uint32_t>(padded)};
  std::memcpy(&launches_[begin], &header, sizeof(header));
  return launches_.data() + begin + sizeof(Header);
}

template <typename Visit>
void StreamWork::ForLaunches(const Visit& visit) const {
  for (size_t at = 0; at < launches_.size();) {
    Header header;
    std::memcpy(&header, &launches_[at], sizeof(header));
    at += sizeof(header);
    if (!visit(header, launches_.data() + at)) return;
    at += header.bytes;
  }
}

Status StreamWork::Issue(cudaStream_t stream) const {
  for (const Range& copy : copies_) {
    PRECIS_RETURN_IF_ERROR(DeviceStatus(
        cudaMemcpyAsync(copy.device, copy.host, copy.bytes, cudaMemcpyHostToDevice, stream)));
  }
  Status status;
  ForLaunches([&](const Header& header, const std::byte* launch) {
    status = header.run(launch, stream);
    return status.ok();
  });
  return status;
}

void StreamWork::Clear() {
  copies_.clear();
  launches_.clear();
}

uint64_t StreamWork::Shape() const {
  uint64_t hash = copies_.size();
  ForLaunches([&](const Header& header, const std::byte*) {
    hash = Mix(Mix(hash, reinterpret_cast<uintptr_t>(header.run)), header.variant);
    return true;
  });
  return hash;
}

bool StreamWork::operator==(const StreamWork& other) const {
  return copies_ == other.copies_ && launches_.size() == other.launches_.size() &&
         std::memcmp(launches_.data(), other.launches_.data(), launches_.size()) == 0;
}

}  // namespace precis::cuda
