#include "kernels/host_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "fmt/format.h"

namespace precis {

StatusOr<DeviceMemory> AllocateHostMemory(size_t bytes) {
  if (bytes == 0) return DeviceMemory();
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return Status(absl::StatusCode::kResourceExhausted,
                  fmt::format("cannot map {} bytes: {}", bytes, std::strerror(errno)));
  }
  madvise(base, bytes, MADV_HUGEPAGE);  // a wish: without it only translation gets slower
  return DeviceMemory(static_cast<std::byte*>(base), bytes,
                      [](std::byte* data, size_t mapped) { munmap(data, mapped); });
}

void HostBackend::Upload(const void* host, size_t bytes, void* device) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void HostBackend::Download(const void* device, size_t bytes, void* host) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void TakeOutScoresOnHost(const TakeOutScoresParams& params) {
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
