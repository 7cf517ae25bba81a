// splitmix64 (Steele, Lea and Flood 2014) as a hash: numbers that depend on what is asked for, not
// on what was drawn before. A chain of words is Mix64(Mix64(first) ^ second) and so on.
//
// Called by backends and by the sampler. Thread rule: a pure function.
#pragma once

#include <cstdint>

namespace precis {

inline constexpr uint64_t kSplitMixStep = 0x9E3779B97F4A7C15u;
inline constexpr uint64_t kSplitMixFirst = 0xBF58476D1CE4E5B9u;
inline constexpr uint64_t kSplitMixSecond = 0x94D049BB133111EBu;

constexpr uint64_t Mix64(uint64_t z) {
  z += kSplitMixStep;
  z = (z ^ (z >> 30)) * kSplitMixFirst;
  z = (z ^ (z >> 27)) * kSplitMixSecond;
  return z ^ (z >> 31);
}

// What a token is sampled at: uniform in [0, 1) with 53 bits.
constexpr double CounterUniform(uint64_t seed, uint64_t sequence, uint64_t position) {
  return static_cast<double>(Mix64(Mix64(Mix64(seed) ^ sequence) ^ position) >> 11) * 0x1.0p-53;
}

// The noise of PGQA: the chain up to the position, then one word more for every dimension.
constexpr uint64_t NoiseChain(uint64_t seed, uint32_t layer, uint32_t kind, uint32_t head,
                              uint32_t position) {
  return Mix64(Mix64(Mix64(Mix64(Mix64(seed) ^ layer) ^ kind) ^ head) ^ position);
}

// 24 bits in [0, 1): exact in f32.
constexpr float NoiseUniform(uint64_t chain, uint32_t dimension) {
  return static_cast<float>(Mix64(chain ^ dimension) >> 40) * 0x1p-24f;
}

}  // namespace precis
