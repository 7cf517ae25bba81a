// What paged attention computes of a page, by type of its values and by ISA: the walk over pages,
// the softmax and the work items are the same for all (kernels/cpu/attention/paged_attention.cc).
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

// Bytes that will be read some time later.
struct BytesAhead {
  const std::byte* begin = nullptr;
  const std::byte* end = nullptr;
};

// Neighbouring keys of one KV head, or their values, in a run of pages. What is computed of a run
// does not depend on where runs begin and end.
struct PageRun {
  const std::byte* const* pages;  // those that hold the keys
  size_t offset;                  // bytes from the start of a page to the head's K or V
  size_t scale_offset;            // of int8, of keys: to the head's scales
  size_t slots;                   // of a page
  size_t head_dim;
  size_t first;      // slot of the first key in the first page
  size_t count;      // keys, at least one
  BytesAhead ahead;  // what functions that ask (PagedProducts) ask for, bit by bit
};
// Pages of a run, at most: sums stay in registers meanwhile.
inline constexpr size_t kRunPages = 4;
// Bytes of K in a run, at most, where that is more than a page's: pages come from memory, in the
// order in which they lie there.
inline constexpr size_t kRunBytes = size_t{16} << 10;

// Queries are rows of [dim] floats, head_dim padded to kMaxLanes; what they and their sums hold is
// the functions' own affair. A query's results do not depend on the others of a call.
struct PagedProducts {
  // q[0 .. head_dim) as `score` wants it.
  void (*load_query)(const float* q, size_t head_dim, float* out);
  // scores[i * kScoreStride + j] = query i times key j, for whole vectors of keys.
  void (*score)(const PageRun& keys, const float* q, size_t dim, size_t queries, float* scores);
  // Null: nothing to do. One query's probabilities p[0 .. n) of a chunk, in int8 times the scales
  // of their values, become what `add_values` takes. p is zero from n to the end of the vector;
  // scales may be read up to there.
  void (*weigh)(float* p, size_t n, const float* scales, float* factor);
  // out[i * dim ..] += the sum of query i's probabilities times the values. p: the chunk's; the
  // run's begin at p[key].
  void (*add_values)(const PageRun& values, const float* p, size_t key, size_t queries, float* out,
                     size_t dim);
  // Null: nothing to do. Takes a query's sums to values, by the factor that `weigh` gave.
  void (*finish)(float factor, size_t head_dim, float* out);
  // Whether `score` and `add_values` ask for what is ahead between the products of so many queries.
  bool (*asks)(size_t queries) = nullptr;
};

// x86 only: each in a source compiled for its instruction set. Slots of a page must fill their
// words.
extern const PagedProducts kPagedAvx512Bf16;
extern const PagedProducts kPagedAvx512Vnni;
// Sums of 16-bit by 8-bit products stay below 2^31 up to this head_dim.
inline constexpr size_t kMaxVnniHeadDim = 512;

}  // namespace precis
