// What paged attention computes of a page, by type of its values and by ISA: the walk over pages,
// the softmax and the work items are the same for all (kernels/cpu/paged_attention.cc).
//
// Owner: constants of the sources that define them. Thread rule: the functions are pure but for
// their outputs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace precis {

// Keys of one chunk: chunks lie at fixed absolute positions, so that the order of reduction is the
// same in every call.
inline constexpr size_t kPagedChunkKeys = 512;
// The widest vector of any target, in floats: rows of scratch are padded to it.
inline constexpr size_t kMaxLanes = 16;
// A row of scores, with room for the last vector of an unaligned page to hang over.
inline constexpr size_t kScoreStride = kPagedChunkKeys + 2 * kMaxLanes;

// Keys of one page and one KV head, or their values.
struct PageShare {
  const void* words;    // the head's K or V in the page, as KvRegion has it
  const float* scales;  // of int8: those of slot `first` and on
  size_t slots;         // of a page
  size_t head_dim;
  size_t first;  // slot of the first key
  size_t count;  // keys, at least one
};

// Queries are rows of [dim] floats, head_dim padded to kMaxLanes; what they and their sums hold is
// the functions' own affair. A query's results do not depend on the others of a call.
struct PagedProducts {
  // q[0 .. head_dim) as `score` wants it.
  void (*load_query)(const float* q, size_t head_dim, float* out);
  // scores[i * kScoreStride + j] = query i times key j, for whole vectors of keys.
  void (*score)(const PageShare& keys, const float* q, size_t dim, size_t queries, float* scores);
  // Null: nothing to do. One query's probabilities p[0 .. n) of a chunk, times the scales of their
  // values, become what `add_values` takes. p is zero from n to the end of the vector.
  void (*round)(float* p, size_t n, float* factor);
  // out[i * dim ..] += the sum of query i's probabilities times the values. p: the chunk's; the
  // page's begin at p[key].
  void (*add_values)(const PageShare& values, const float* p, size_t key, size_t queries,
                     float* out, size_t dim);
  // Null: nothing to do. Takes a query's sums to values, by the factor that `round` gave.
  void (*finish)(float factor, size_t head_dim, float* out);
};

// x86 only: each in a source compiled for its instruction set. Slots of a page must fill their
// words.
extern const PagedProducts kPagedAvx512Bf16;
extern const PagedProducts kPagedAvx512Vnni;
// Sums of 16-bit by 8-bit products stay below 2^31 up to this head_dim.
inline constexpr size_t kMaxVnniHeadDim = 512;

}  // namespace precis
