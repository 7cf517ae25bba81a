// Decode attention over pages. A block takes a chunk of the keys of rows that share a page table,
// for one KV head: its whole group and all those rows, up to kQueries of them at a time. Rows of
// several chunks leave partials, which merge_partials.cu joins in the chunks' order.
//
// A query's bits are those it has alone: all that is shared between queries is the words that are
// read. Scores of keys that a row does not see are computed and not used; of values only those
// that it sees take part, as a word may hold slots that no one has written.
#include <cmath>

#include "common/check.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;
// Blocks that share a multiprocessor's registers, at least.
[[maybe_unused]] constexpr unsigned BlocksFor(unsigned queries) {
  return queries == 1 ? 6 : queries == 4 ? 5 : 4;
}
constexpr unsigned kWarps = kThreads / kWarpLanes;

struct PagedCall {
  const float* q;
  size_t q_stride;
  const PagedRow* rows;
  const int32_t* pages;
  KvPool pool;
  KvRegion region;
  const uint32_t* heads;
  const uint32_t* begin;
  bool assigned;  // `begin` is of each row
  PositionBias bias;
  const PagedItem* items;
  const uint32_t* first_chunk;
  float* partials;
  uint32_t num_heads;
  size_t out_stride;
};

// Words that a thread reads at once, where they lie side by side on 16 bytes.
constexpr unsigned kWideWords = 4;

template <unsigned kWords>
__device__ __forceinline__ void LoadWords(const unsigned* from, unsigned (&words)[kWords]) {
  if constexpr (kWords == kWideWords) {
    const uint4 all = *reinterpret_cast<const uint4*>(from);
    words[0] = all.x;
    words[1] = all.y;
    words[2] = all.z;
    words[3] = all.w;
  } else {
#pragma unroll
    for (unsigned n = 0; n < kWords; ++n) words[n] = from[n];
  }
}

// Value `e` of a word, as a float.
template <DType kType>
__device__ __forceinline__ float ValueOf(unsigned word, unsigned e) {
  if constexpr (kType == DType::kF32) return __uint_as_float(word);
  if constexpr (kType == DType::kBF16) {
    return e == 0 ? WidenBF16(word) : __uint_as_float(word & 0xffff0000u);
  }
  return static_cast<float>(static_cast<int8_t>(word >> (8 * e)));
}

// One of the queries that a block serves at a time.
struct Query {
  uint32_t row;  // of the call
  uint32_t head;
  uint32_t keys;  // that it sees of the chunk; 0 of one that is not there
};

// Of a query's chunk.
struct Totals {
  float max;
  float sum;
  float inverse;  // of the sum
};

// What a block's threads know of their work.
struct Chunk {
  uint32_t g;      // KV head
  uint32_t first;  // key
  uint32_t keys;   // the most that a row sees
  const int32_t* pages;
};

// Query `i` of the item: rows one after the other, each with the heads of its group.
__device__ Query QueryAt(const PagedCall& c, const PagedItem& item, const Chunk& chunk,
                         uint32_t i) {
  const uint32_t width = c.region.num_kv_heads + 1;
  for (uint32_t r = 0; r < item.num_rows; ++r) {
    const uint32_t row = item.first_row + r;
    const uint32_t* begin = c.begin + (c.assigned ? size_t{row} * width : 0) + chunk.g;
    const uint32_t count = begin[1] - begin[0];
    if (i >= count) {
      i -= count;
      continue;
    }
    const uint32_t sees = c.rows[row].num_keys;
    const uint32_t keys = sees > chunk.first ? sees - chunk.first : 0;
    return {row, c.heads[begin[0] + i], min(keys, static_cast<uint32_t>(kPagedChunkKeys))};
  }
  return {0, 0, 0};
}

__device__ uint32_t CountQueries(const PagedCall& c, const PagedItem& item, uint32_t g) {
  uint32_t count = 0;
  for (uint32_t r = 0; r < item.num_rows; ++r) {
    const size_t width = c.region.num_kv_heads + size_t{1};
    const uint32_t* begin = c.begin + (c.assigned ? (item.first_row + r) * width : 0) + g;
    count += begin[1] - begin[0];
  }
  return count;
}

template <DType kType, unsigned kQueries>
class Tile {
 public:
  static constexpr unsigned kPack = kKvWordBytes / ElementBytes(kType);

  __device__ Tile(const PagedCall& call, const Chunk& chunk, const Query* queries, float* shared)
      : c_(call),
        r_(call.region),
        chunk_(chunk),
        queries_(queries),
        dims_(static_cast<unsigned>(r_.dim_words()) * kPack),
        q_(shared),
        scores_(q_ + kQueries * dims_),
        values_(scores_ + kQueries * kPagedChunkKeys) {}

  __device__ void LoadQueries() {
    for (unsigned i = threadIdx.x; i < kQueries * dims_; i += kThreads) {
      const Query query = queries_[i / dims_];
      const unsigned d = i % dims_;
      const bool is_there = query.keys > 0 && d < r_.head_dim;
      q_[i] = is_there ? c_.q[query.row * c_.q_stride + query.head * r_.head_dim + d] : 0.0f;
    }
  }

  // A thread kWords neighbouring keys of a page; neighbours read neighbouring words.
  template <unsigned kWords>
  __device__ void Score() {
    for (unsigned i = threadIdx.x * kWords; i < chunk_.keys; i += kThreads * kWords) {
      const unsigned key = chunk_.first + i;
      const unsigned slot = key % r_.slots;
      const std::byte* page = Page(key / r_.slots);
      const auto* words = reinterpret_cast<const unsigned*>(page + r_.k_offset) +
                          chunk_.g * r_.dim_words() * r_.slots + slot;
      float sums[kQueries][kWords] = {};
      for (unsigned w = 0; w < dims_ / kPack; ++w) {
        unsigned k[kWords];
        LoadWords<kWords>(words + size_t{w} * r_.slots, k);
#pragma unroll
        for (unsigned e = 0; e < kPack; ++e) {
#pragma unroll
          for (unsigned j = 0; j < kQueries; ++j) {
            const float q = q_[j * dims_ + w * kPack + e];
#pragma unroll
            for (unsigned n = 0; n < kWords; ++n) {
              sums[j][n] = fmaf(q, ValueOf<kType>(k[n], e), sums[j][n]);
            }
          }
        }
      }
#pragma unroll
      for (unsigned n = 0; n < kWords; ++n) {
        const float scale = kType == DType::kI8 ? Scale(page, r_.k_scale_offset, slot + n) : 1.0f;
#pragma unroll
        for (unsigned j = 0; j < kQueries; ++j) {
          if (i + n >= queries_[j].keys) continue;
          scores_[j * kPagedChunkKeys + i + n] =
              __fadd_rn(__fmul_rn(sums[j][n], scale), Bias(j, key + n));
        }
      }
    }
  }

  // A warp a query: scores become probabilities that are not yet divided by their sum.
  __device__ void Softmax(Totals* totals) {
    const unsigned lane = threadIdx.x % kWarpLanes;
    for (unsigned j = threadIdx.x / kWarpLanes; j < kQueries; j += kWarps) {
      const unsigned keys = queries_[j].keys;
      float* row = scores_ + j * kPagedChunkKeys;
      float max = -INFINITY;
      for (unsigned i = lane; i < keys; i += kWarpLanes) max = LargerOrNaN(max, row[i]);
      max = WarpMax(max);
      float sum = 0;
      for (unsigned i = lane; i < keys; i += kWarpLanes) {
        const float p = expf(row[i] - max);
        sum += p;
        row[i] = kType == DType::kI8 ? p * ValueScale(chunk_.first + i) : p;
      }
      sum = WarpSum(sum);
      if (lane == 0) totals[j] = {max, sum, 1.0f / sum};
    }
  }

  // A thread kWords neighbouring dimensions; `width` threads have them all, and as many times as
  // the block has so many they share the words of the chunk's pages. Their sums, which are added in
  // the order of the parts, are left in values_.
  template <unsigned kWords>
  __device__ void SumValues(unsigned width) {
    const unsigned d = threadIdx.x % width * kWords;
    float sums[kQueries][kWords] = {};
    if (d < r_.head_dim) AddWords<kWords>(threadIdx.x / width, kThreads / width, d, sums);
#pragma unroll
    for (unsigned j = 0; j < kQueries; ++j) {
#pragma unroll
      for (unsigned n = 0; n < kWords; ++n) {
        values_[(j * kThreads + threadIdx.x) * kWideWords + n] = sums[j][n];
      }
    }
    __syncthreads();
  }

  // Of a dimension of query j, after SumValues().
  template <unsigned kWords>
  __device__ float Value(unsigned j, unsigned d, unsigned width) const {
    const float* at = values_ + (j * kThreads + d / kWords) * kWideWords + d % kWords;
    float value = *at;
    for (unsigned part = 1; part < kThreads / width; ++part) value += at[part * width * kWideWords];
    return value;
  }

 private:
  __device__ const std::byte* Page(unsigned index) const {
    return c_.pool.base + static_cast<size_t>(chunk_.pages[index]) * c_.pool.page_bytes;
  }
  __device__ float Scale(const std::byte* page, size_t offset, unsigned slot) const {
    return reinterpret_cast<const float*>(page + offset)[chunk_.g * r_.slots + slot];
  }
  __device__ float ValueScale(unsigned key) const {
    return Scale(Page(key / r_.slots), r_.v_scale_offset, key % r_.slots);
  }
  __device__ float Bias(unsigned j, unsigned key) const {
    if (c_.bias.data == nullptr) return 0.0f;
    const Query& query = queries_[j];
    return c_.bias
        .data[query.head * c_.bias.stride + c_.bias.zero + key - c_.rows[query.row].position];
  }

  template <unsigned kWords>
  __device__ void AddWords(unsigned part, unsigned parts, unsigned d,
                           float (&sums)[kQueries][kWords]) {
    const auto page_words = static_cast<unsigned>(r_.slot_words());
    const unsigned first_page = chunk_.first / r_.slots;
    const unsigned end = chunk_.first + chunk_.keys;
    const unsigned words = ((end - 1) / r_.slots - first_page + 1) * page_words;
    for (unsigned i = part; i < words; i += parts) {
      const unsigned page = first_page + i / page_words;
      const unsigned w = i % page_words;
      const unsigned key = page * r_.slots + w * kPack;
      if (key + kPack <= chunk_.first || key >= end) continue;
      const auto* values = reinterpret_cast<const unsigned*>(Page(page) + r_.v_offset);
      unsigned v[kWords];
      LoadWords<kWords>(values + (chunk_.g * page_words + w) * r_.head_dim + d, v);
#pragma unroll
      for (unsigned e = 0; e < kPack; ++e) {
        const unsigned at = key + e - chunk_.first;  // wraps before the chunk, and is then large
        if (w * kPack + e >= r_.slots) continue;
#pragma unroll
        for (unsigned j = 0; j < kQueries; ++j) {
          if (at >= queries_[j].keys) continue;
          const float p = scores_[j * kPagedChunkKeys + at];
#pragma unroll
          for (unsigned n = 0; n < kWords; ++n) {
            sums[j][n] = fmaf(p, ValueOf<kType>(v[n], e), sums[j][n]);
          }
        }
      }
    }
  }

  const PagedCall& c_;
  const KvRegion& r_;
  const Chunk& chunk_;
  const Query* queries_;  // [kQueries], shared
  unsigned dims_;         // of whole words
  float* q_;              // [kQueries, dims_]
  float* scores_;         // [kQueries, kPagedChunkKeys]
  float* values_;         // [kQueries, kThreads, kWideWords], of kThreads / width parts
};

// A query's values go to `out`, divided, or with what belongs to them to its partial.
template <typename T>
__device__ void StoreValue(const PagedCall& c, const Query& query, uint32_t chunk, unsigned d,
                           float value, const Totals& totals, typename T::Storage* out) {
  const uint32_t first = c.first_chunk[query.row];
  if (c.first_chunk[query.row + 1] - first == 1) {
    out[query.row * c.out_stride + query.head * c.region.head_dim + d] =
        T::Store(value * totals.inverse);
    return;
  }
  const size_t index = (size_t{first} + chunk) * c.num_heads + query.head;
  float* partial = c.partials + index * PartialFloats(c.region.head_dim);
  partial[d] = value;
  if (d > 0) return;
  partial[c.region.head_dim] = totals.max;
  partial[c.region.head_dim + 1] = totals.sum;
}

static_assert(kMostHeadDim <= kThreads);

// Threads that a head's dimensions take, `words` each: a power of two, of which a block has a whole
// number.
__device__ __forceinline__ unsigned DimensionThreads(unsigned head_dim, unsigned words) {
  unsigned width = 1;
  while (width * words < head_dim) width *= 2;
  return width;
}

// The values of all queries of a tile, from their probabilities.
template <unsigned kWords, DType kType, unsigned kQueries, typename T>
__device__ void StoreValues(const PagedCall& c, Tile<kType, kQueries>& tile, const Query* queries,
                            const Totals* totals, uint32_t chunk, typename T::Storage* out) {
  const unsigned width = DimensionThreads(c.region.head_dim, kWords);
  tile.template SumValues<kWords>(width);
  const unsigned dims = c.region.head_dim;
  for (unsigned i = threadIdx.x; i < kQueries * dims; i += kThreads) {
    const unsigned j = i / dims;
    if (queries[j].keys == 0) continue;
    StoreValue<T>(c, queries[j], chunk, i % dims, tile.template Value<kWords>(j, i % dims, width),
                  totals[j], out);
  }
}

template <DType kType, unsigned kQueries, typename T>
__global__ void __launch_bounds__(kThreads, BlocksFor(kQueries))
    PagedKernel(PagedCall c, typename T::Storage* out) {
  PRECIS_DYNAMIC_SHARED(float, shared);
  __shared__ Query queries[kQueries];
  __shared__ Totals totals[kQueries];
  const PagedItem item = c.items[blockIdx.x];
  Chunk chunk;
  chunk.g = blockIdx.y;
  chunk.first = item.chunk * static_cast<uint32_t>(kPagedChunkKeys);
  chunk.pages = c.pages + c.rows[item.first_row].first_page;
  const uint32_t count = CountQueries(c, item, chunk.g);
  const bool slots_are_wide = c.region.slots % kWideWords == 0;
  const bool dims_are_wide = c.region.head_dim % kWideWords == 0;
  for (uint32_t first = 0; first < count; first += kQueries) {
    __syncthreads();  // no thread reads the last queries any more
    if (threadIdx.x < kQueries) {
      queries[threadIdx.x] = QueryAt(c, item, chunk, first + threadIdx.x);
    }
    __syncthreads();
    chunk.keys = 0;
    for (unsigned j = 0; j < kQueries; ++j) chunk.keys = max(chunk.keys, queries[j].keys);
    if (chunk.keys == 0) continue;
    Tile<kType, kQueries> tile(c, chunk, queries, shared);
    tile.LoadQueries();
    __syncthreads();
    // Few keys have a thread each. A score's bits are the same either way.
    if (slots_are_wide && chunk.keys > kThreads) {
      tile.template Score<kWideWords>();
    } else {
      tile.template Score<1>();
    }
    __syncthreads();
    tile.Softmax(totals);
    __syncthreads();
    // The order of a value's sums differs: this must not depend on the batch.
    if (dims_are_wide) {
      StoreValues<kWideWords, kType, kQueries, T>(c, tile, queries, totals, item.chunk, out);
    } else {
      StoreValues<1, kType, kQueries, T>(c, tile, queries, totals, item.chunk, out);
    }
  }
}

template <DType kType, unsigned kQueries, typename T>
void LaunchItems(const PagedCall& c, size_t num_items, void* out, cudaStream_t stream) {
  const size_t dims = c.region.dim_words() * c.region.pack();
  const size_t floats = kQueries * (dims + kPagedChunkKeys + kThreads * kWideWords);
  PRECIS_LAUNCH((PagedKernel<kType, kQueries, T>),
                dim3(Blocks(num_items, 1), c.region.num_kv_heads), kThreads, floats * sizeof(float),
                stream, c, static_cast<typename T::Storage*>(out));
}

// Few queries need few registers, and then more blocks are under way.
template <DType kType, typename T>
void LaunchQueries(const PagedCall& c, const PagedWork& work, void* out, cudaStream_t stream) {
  if (work.most_queries == 1) return LaunchItems<kType, 1, T>(c, work.num_items, out, stream);
  if (work.most_queries <= 4) return LaunchItems<kType, 4, T>(c, work.num_items, out, stream);
  LaunchItems<kType, 8, T>(c, work.num_items, out, stream);
}

template <typename T>
void Launch(const PagedCall& c, const PagedWork& work, void* out, cudaStream_t stream) {
  switch (c.region.dtype) {
    case DType::kF32:
      LaunchQueries<DType::kF32, T>(c, work, out, stream);
      break;
    case DType::kBF16:
      LaunchQueries<DType::kBF16, T>(c, work, out, stream);
      break;
    case DType::kI8:
      LaunchQueries<DType::kI8, T>(c, work, out, stream);
      break;
  }
}

}  // namespace

void PagedAttention(const PagedAttentionParams& p, const PagedWork& work, cudaStream_t stream) {
  PRECIS_CHECK(p.region.head_dim <= kMostHeadDim);
  if (work.num_items == 0) return;
  const PagedCall call{
      .q = p.q,
      .q_stride = p.q_stride,
      .rows = p.rows.data(),
      .pages = p.pages.data(),
      .pool = p.pool,
      .region = p.region,
      .heads = p.groups.heads.data(),
      .begin = p.assigned.empty() ? p.groups.begin.data() : p.assigned.data(),
      .assigned = !p.assigned.empty(),
      .bias = p.bias,
      .items = work.items,
      .first_chunk = work.first_chunk,
      .partials = work.partials,
      .num_heads = static_cast<uint32_t>(p.groups.heads.size()),
      .out_stride = p.out.cols,
  };
  if (p.out.dtype == DType::kF32) {
    Launch<F32>(call, work, p.out.data, stream);
  } else {
    Launch<BF16>(call, work, p.out.data, stream);
  }
  if (work.merges) MergePartials(work, call.num_heads, p.region.head_dim, p.out, stream);
}

}  // namespace precis::cuda
