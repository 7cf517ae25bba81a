#include "kernels/cuda/stream/staging.h"

#include <cstring>

#include "common/check.h"

namespace precis::cuda {
namespace {

// Copies that are remembered; one more is only copied again.
constexpr size_t kMostCopied = 1024;

}  // namespace

void Staging::Free() {
  if (host_ != nullptr) cudaFreeHost(host_);
  if (device_ != nullptr) cudaFree(device_);
  host_ = device_ = nullptr;
  bytes_ = 0;
  Recycle();
}

cudaError_t Staging::Claim(size_t bytes) {
  Free();
  bytes = BlockBytes(bytes);
  void* host = nullptr;
  void* device = nullptr;
  cudaError_t error = cudaMallocHost(&host, bytes);
  if (error != cudaSuccess) return error;
  host_ = static_cast<std::byte*>(host);
  error = cudaMalloc(&device, bytes);
  if (error != cudaSuccess) return error;
  device_ = static_cast<std::byte*>(device);
  bytes_ = bytes;
  copied_.reserve(kMostCopied);
  return cudaSuccess;
}

Staging::Block Staging::Take(size_t bytes) {
  PRECIS_CHECK(Fits(BlockBytes(bytes)));
  const Block block{host_ + used_, device_ + used_, bytes};
  used_ += BlockBytes(bytes);
  return block;
}

const std::byte* Staging::Find(const void* from, size_t bytes) const {
  for (const Copied& c : copied_) {
    if (c.from != from || c.block.bytes != bytes) continue;
    if (std::memcmp(c.block.host, from, bytes) == 0) return c.block.device;
  }
  return nullptr;
}

Staging::Block Staging::Copy(const void* from, size_t bytes) {
  const Block block = Take(bytes);
  std::memcpy(block.host, from, bytes);
  if (copied_.size() < kMostCopied) copied_.push_back({from, block});
  return block;
}

void Staging::Recycle() {
  used_ = 0;
  copied_.clear();
}

}  // namespace precis::cuda
