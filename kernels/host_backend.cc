#include "kernels/host_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "fmt/format.h"

namespace precis {
namespace {

// Small ones lie side by side: were each to begin a page of its own, they would meet in the same
// sets of the caches and take an entry of the TLB each.
constexpr size_t kLeastMappedBytes = 4u << 20;
constexpr size_t kAlignment = 64;

Status NoMemory(size_t bytes) {
  return Status(absl::StatusCode::kResourceExhausted,
                fmt::format("cannot have {} bytes: {}", bytes, std::strerror(errno)));
}

StatusOr<DeviceMemory> FromHeap(size_t bytes) {
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, rounded);
  if (data == nullptr) return NoMemory(bytes);
  std::memset(data, 0, rounded);
  return DeviceMemory(static_cast<std::byte*>(data), bytes,
                      [](std::byte* memory, size_t) { std::free(memory); });
}

StatusOr<DeviceMemory> Mapped(size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return NoMemory(bytes);
  madvise(base, bytes, MADV_HUGEPAGE);  // advice: without it only translation gets slower
  return DeviceMemory(static_cast<std::byte*>(base), bytes,
                      [](std::byte* memory, size_t mapped) { munmap(memory, mapped); });
}

}  // namespace

StatusOr<DeviceMemory> AllocateHostMemory(size_t bytes) {
  if (bytes == 0) return DeviceMemory();
  return bytes < kLeastMappedBytes ? FromHeap(bytes) : Mapped(bytes);
}

void HostBackend::Upload(const void* host, size_t bytes, void* device) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void HostBackend::Download(const void* device, size_t bytes, void* host) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void ExtractScoresOnHost(const ExtractScoresParams& params) {
  for (const ScorePlace& place : params.places) {
    float& score = params.scores[place.row * params.count +
                                 static_cast<size_t>(place.token - params.first_token)];
    params.values[place.value] = score;
    score = -std::numeric_limits<float>::infinity();
  }
}

void KeepScoresOnHost(const KeepScoresParams& params) {
  for (const uint32_t row : params.rows) {
    std::copy_n(params.scores + row * params.count, params.count,
                params.out + row * params.vocab_size + static_cast<size_t>(params.first_token));
  }
}

}  // namespace precis
