// Where what the host says passes on its way to the device and what the device answers on its way
// back: pinned memory and as much of the device's, block beside block, used again once the stream
// was waited for.
//
// Owner: the CUDA backend. Thread rule: the thread that has the stream.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
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
  ~Staging() { Free(); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // What a block of `bytes` takes up: in steps of an eighth, so that what grows a little from step
  // to step leaves what follows it where it lay.
  static constexpr size_t BlockBytes(size_t bytes) {
    const size_t step = std::max<size_t>(64, std::bit_floor(bytes) / 8);
    return (bytes + step - 1) / step * step;
  }

  // What was claimed before goes: nothing of the stream may read or write it any more.
  cudaError_t Claim(size_t bytes);
  // `block_bytes`: what blocks take up, in all.
  bool Fits(size_t block_bytes) const { return block_bytes <= bytes_ - used_; }
  Block Take(size_t bytes);

  // What an earlier call has copied from here, if the bytes are still the same; else null.
  const std::byte* Find(const void* from, size_t bytes) const;
  // Copies `from` into the host's side of a block; it may change when this returns. The block must
  // fit.
  Block Copy(const void* from, size_t bytes);

  // All blocks are free again. Nothing of the stream may read or write them any more.
  void Recycle();
  size_t bytes() const { return bytes_; }

 private:
  struct Copied {
    const void* from;
    Block block;
  };

  void Free();

  std::byte* host_ = nullptr;
  std::byte* device_ = nullptr;
  size_t bytes_ = 0;
  size_t used_ = 0;
  std::vector<Copied> copied_;
};

}  // namespace precis::cuda
