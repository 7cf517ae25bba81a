// How paged attention's products by AVX-512 instructions for bf16 and int8 walk over a run of
// pages: what its kernels share. The tiles are theirs.
//
// Included by one source for each such instruction set. All is in an unnamed namespace and calls
// nothing inline of ours or of the standard library (see attention_bf16-inl.h). Thread rule: pure
// but for outputs.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa/paged_products.h"

namespace precis {
namespace {

constexpr size_t kLanes = 16;

typedef int32_t __attribute__((may_alias)) Word;

inline __m512i Broadcast(const float* word) {
  return _mm512_set1_epi32(*reinterpret_cast<const Word*>(word));
}

inline __mmask16 First(size_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xffffu : (1u << count) - 1u);
}

// Keys of a page's part of a run, or their values.
struct Part {
  const uint32_t* words;
  const float* scales;  // of int8 keys: those of all slots
  size_t first;         // slot of the first key
  size_t count;
};

// The part of page `page`, the first keys of which are after `key` of the run.
inline Part PartOf(const PageRun& run, size_t page, size_t key) {
  const size_t first = page == 0 ? run.first : 0;
  const size_t left = run.count - key;
  return {reinterpret_cast<const uint32_t*>(run.pages[page] + run.offset),
          reinterpret_cast<const float*>(run.pages[page] + run.scale_offset), first,
          left < run.slots - first ? left : run.slots - first};
}

// Scores of kRows queries with 16 keys of a part, the first of them in slot `slot`.
template <size_t kRows>
inline void ScoreTile(const PageRun& run, const Part& part, size_t slot, const float* q, size_t dim,
                      float* scores);

// Adds a run's values to the sums of kRows queries, kVectors vectors of dimensions from `column`
// on. `key`: of the chunk, where the run begins.
template <size_t kRows, size_t kVectors>
inline void ValueTile(const PageRun& run, size_t column, const float* p, size_t key, float* out,
                      size_t dim);

template <size_t kRows>
inline void ScoreRows(const PageRun& run, const float* q, size_t dim, float* scores) {
  for (size_t page = 0, key = 0; key < run.count; ++page) {
    const Part part = PartOf(run, page, key);
    for (size_t i = 0; i < part.count; i += kLanes) {
      ScoreTile<kRows>(run, part, part.first + i, q, dim, scores + key + i);
    }
    key += part.count;
  }
}

void ScoreKeys(const PageRun& keys, const float* q, size_t dim, size_t queries, float* scores) {
  for (; queries >= 4; queries -= 4, q += 4 * dim, scores += 4 * kScoreStride) {
    ScoreRows<4>(keys, q, dim, scores);
  }
  if (queries == 3) ScoreRows<3>(keys, q, dim, scores);
  if (queries == 2) ScoreRows<2>(keys, q, dim, scores);
  if (queries == 1) ScoreRows<1>(keys, q, dim, scores);
}

template <size_t kRows>
inline void ValueRows(const PageRun& values, const float* p, size_t key, float* out, size_t dim) {
  const size_t end = (values.head_dim + kLanes - 1) / kLanes * kLanes;
  size_t column = 0;
  for (; column + 4 * kLanes <= end; column += 4 * kLanes) {
    ValueTile<kRows, 4>(values, column, p, key, out, dim);
  }
  for (; column < end; column += kLanes) ValueTile<kRows, 1>(values, column, p, key, out, dim);
}

}  // namespace
}  // namespace precis
