// Where what the host says passes on its way to the device and what the device answers on its way
// back: pinned memory and as much of the device's, block beside block, used again once the stream
// was waited for.
//
// Owner: the CUDA backend. Thread rule: the thread that has the stream.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

namespace precis::cuda {

class Staging {
 public:
  struct Block {
    std::byte* host;    // pinned
    std::byte* device;  // as large
    size_t bytes;
  };

  Staging() = default;
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // What a block of `bytes` takes up.
  static constexpr size_t BlockBytes(size_t bytes) { return (bytes + 63) / 64 * 64; }

  cudaError_t Claim(size_t bytes);
  bool Fits(size_t bytes) const;
  Block Take(size_t bytes);

  // What an earlier call has copied from here, if the bytes are still the same; else null.
  const std::byte* Find(const void* from, size_t bytes) const;
  // Copies `from` into a block; it may change when this returns. The block must fit.
  cudaError_t Copy(const void* from, size_t bytes, cudaStream_t stream, const std::byte** device);

  // All blocks are free again. Nothing of the stream may read or write them any more.
  void Recycle();
  size_t bytes() const { return bytes_; }

 private:
  struct Copied {
    const void* from;
    Block block;
  };

  std::byte* host_ = nullptr;
  std::byte* device_ = nullptr;
  size_t bytes_ = 0;
  size_t used_ = 0;
  std::vector<Copied> copied_;
};

}  // namespace precis::cuda
