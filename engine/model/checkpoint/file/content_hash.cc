#include "engine/model/checkpoint/file/content_hash.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace precis {
namespace {

static_assert(std::endian::native == std::endian::little, "XXH64 reads little-endian words");

// Constants and structure: github.com/Cyan4973/xxHash, doc/xxhash_spec.md.
constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

template <typename T>
T Load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t Round(uint64_t lane, uint64_t word) {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

uint64_t Merge(uint64_t hash, uint64_t lane) { return (hash ^ Round(0, lane)) * kPrime1 + kPrime4; }

}  // namespace

ContentHash::ContentHash(uint64_t seed)
    : lanes_{seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1},
      tail_{},
      seed_(seed) {}

void ContentHash::Block(const std::byte* block) {
  for (size_t i = 0; i < lanes_.size(); ++i) {
    lanes_[i] = Round(lanes_[i], Load<uint64_t>(block + 8 * i));
  }
}

void ContentHash::Update(std::span<const std::byte> bytes) {
  total_bytes_ += bytes.size();
  if (tail_bytes_ > 0) {
    const size_t taken = std::min(tail_.size() - tail_bytes_, bytes.size());
    std::copy_n(bytes.data(), taken, tail_.data() + tail_bytes_);
    tail_bytes_ += taken;
    bytes = bytes.subspan(taken);
    if (tail_bytes_ < tail_.size()) return;
    Block(tail_.data());
    tail_bytes_ = 0;
  }
  while (bytes.size() >= tail_.size()) {
    Block(bytes.data());
    bytes = bytes.subspan(tail_.size());
  }
  std::copy_n(bytes.data(), bytes.size(), tail_.data());
  tail_bytes_ = bytes.size();
}

uint64_t ContentHash::Digest() const {
  uint64_t hash = seed_ + kPrime5;
  if (total_bytes_ >= tail_.size()) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
           std::rotl(lanes_[3], 18);
    for (const uint64_t lane : lanes_) hash = Merge(hash, lane);
  }
  hash += total_bytes_;
  size_t at = 0;
  for (; at + 8 <= tail_bytes_; at += 8) {
    hash ^= Round(0, Load<uint64_t>(tail_.data() + at));
    hash = std::rotl(hash, 27) * kPrime1 + kPrime4;
  }
  if (at + 4 <= tail_bytes_) {
    hash ^= uint64_t{Load<uint32_t>(tail_.data() + at)} * kPrime1;
    hash = std::rotl(hash, 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at < tail_bytes_; ++at) {
    hash ^= static_cast<uint64_t>(tail_[at]) * kPrime5;
    hash = std::rotl(hash, 11) * kPrime1;
  }
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

}  // namespace precis
