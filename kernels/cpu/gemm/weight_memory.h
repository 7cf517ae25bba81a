// Memory for packed weights in large pages where the system gives them: weights are read once a
// step, and small pages stop what is fetched ahead every 4 KiB.
//
// Owner: a GEMM engine, whose matrices lie in it until it is destroyed. Thread rule: one caller at
// a time.
#pragma once

#include <cstddef>
#include <vector>

#include "common/status.h"

namespace precis {

class WeightMemory {
 public:
  WeightMemory() = default;
  ~WeightMemory();
  WeightMemory(const WeightMemory&) = delete;
  WeightMemory& operator=(const WeightMemory&) = delete;

  // Zeros, aligned to a cache line. RESOURCE_EXHAUSTED when there is no memory.
  StatusOr<std::byte*> Claim(size_t bytes);

 private:
  struct Chunk {
    std::byte* base;
    size_t bytes;
  };

  std::vector<Chunk> chunks_;
  std::byte* free_ = nullptr;  // of the last chunk
  size_t free_bytes_ = 0;
};

}  // namespace precis
