// XXH64, streaming: fast enough to hash weights while they are read. It tells checkpoints apart; it
// is no defence against someone who wants two to look alike. Thread rule: one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace precis {

class ContentHash {
 public:
  explicit ContentHash(uint64_t seed = 0);
  void Update(std::span<const std::byte> bytes);
  void Update(std::string_view text) { Update(std::as_bytes(std::span(text))); }
  uint64_t Digest() const;

 private:
  void Block(const std::byte* block);

  std::array<uint64_t, 4> lanes_;
  std::array<std::byte, 32> tail_;  // bytes since the last whole block
  size_t tail_bytes_ = 0;
  uint64_t total_bytes_ = 0;
  uint64_t seed_;
};

}  // namespace precis
