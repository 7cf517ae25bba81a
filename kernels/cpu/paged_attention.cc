// Decode attention over pages: for neighbouring rows that share a page table, a KV head and a chunk
// of keys. A page's K is read once for all query heads of the group and all rows, then its V. Keys
// are lanes of a vector for the scores, dimensions are for the sum of values.
//
// A row's bits are those it has alone: scores of keys that it does not see are computed and not
// used, and in the sum of values it takes part up to its own last key.
#include <cmath>

#include "kernels/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/paged_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

// A row of scores, with room for the last vector of an unaligned page to hang over.
constexpr size_t kScoreStride = kPagedChunkKeys + 2 * kMaxLanes;

struct PagedScratch {
  PagedScratch(float* base, size_t queries, size_t head_dim)
      : dim(PadToLanes(head_dim)),
        q(base),
        scores(q + queries * dim),
        out(scores + queries * kScoreStride),
        running(reinterpret_cast<Running*>(out + queries * dim)) {}
  size_t dim;
  float* q;          // [queries, dim]
  float* scores;     // [queries, kScoreStride]
  float* out;        // [queries, dim]
  Running* running;  // [queries]
};

// What one pass over a chunk's pages serves: query i is head heads[i % heads.size()] of row i /
// heads.size().
struct PagedPass {
  std::span<const PagedRow> rows;
  std::span<const uint32_t> heads;
  size_t kv_head;
  size_t begin;  // the chunk's first key
  size_t end;    // behind the last key in the chunk that any of the rows sees

  size_t queries() const { return rows.size() * heads.size(); }
  // Keys of the chunk that a row sees, at most `most` of them.
  size_t Keys(size_t row, size_t from, size_t most) const {
    const size_t keys = rows[row].num_keys > from ? rows[row].num_keys - from : 0;
    return keys < most ? keys : most;
  }
};

// Walks over the pages that hold the keys of a pass.
struct PageCursor {
  PageCursor(const PagedAttentionParams& params, const PagedPass& paged_pass)
      : p(params), pass(paged_pass), key(paged_pass.begin) {
    Find();
  }
  bool done() const { return key == pass.end; }
  void Next() {
    key += count;
    if (!done()) Find();
  }
  void Find() {
    const size_t slots = p.region.slots;
    slot = key % slots;
    count = slots - slot < pass.end - key ? slots - slot : pass.end - key;
    const auto index = static_cast<size_t>(p.pages[pass.rows[0].first_page + key / slots]);
    page = p.pool.base + index * p.pool.page_bytes;
  }

  const PagedAttentionParams& p;
  const PagedPass& pass;
  size_t key;
  const std::byte* page = nullptr;
  size_t slot = 0;   // of `key` in its page
  size_t count = 0;  // keys in this page
};

// Fetches what a pass will read, some pages ahead: the K of its pages, then their V. A head's share
// of a page is small and far from the next page's, so the CPU cannot guess.
class PageFetcher {
 public:
  PageFetcher(const PagedAttentionParams& p, const PagedPass& pass, size_t element_bytes)
      : p_(p),
        pages_(p.pages.subspan(pass.rows[0].first_page + pass.begin / p.region.slots)),
        num_pages_((pass.end - 1) / p.region.slots - pass.begin / p.region.slots + 1),
        bytes_(p.region.head_dim * p.region.slots * element_bytes),
        head_(pass.kv_head * bytes_) {
    const size_t ahead = (kAheadBytes + bytes_ - 1) / bytes_;
    for (size_t i = 0; i < ahead; ++i) Next();
  }

  void Next() {
    if (next_ == 2 * num_pages_) return;
    const bool is_k = next_ < num_pages_;
    const auto index = static_cast<size_t>(pages_[is_k ? next_ : next_ - num_pages_]);
    const std::byte* from = p_.pool.base + index * p_.pool.page_bytes +
                            (is_k ? p_.region.k_offset : p_.region.v_offset) + head_;
    for (size_t i = 0; i < bytes_; i += kLineBytes) __builtin_prefetch(from + i);
    ++next_;
  }

 private:
  static constexpr size_t kLineBytes = 64;
  static constexpr size_t kAheadBytes = 8 << 10;  // covers a memory latency at a core's bandwidth

  const PagedAttentionParams& p_;
  std::span<const int32_t> pages_;
  size_t num_pages_;
  size_t bytes_;  // of K or V in a page
  size_t head_;   // their offset
  size_t next_ = 0;
};

HWY_INLINE void SoftmaxRows(const PagedAttentionParams& p, const PagedPass& pass,
                            const PagedScratch& s) {
  for (size_t i = 0; i < pass.queries(); ++i) {
    const size_t row = i / pass.heads.size();
    const size_t keys = pass.Keys(row, pass.begin, pass.end - pass.begin);
    if (keys == 0) continue;
    const size_t head = pass.heads[i % pass.heads.size()];
    const float* bias = p.bias.data == nullptr ? nullptr
                                               : p.bias.data + head * p.bias.stride + p.bias.zero +
                                                     pass.begin - pass.rows[row].position;
    s.running[i] = {-HUGE_VALF, 0.0f};
    SoftmaxChunk(s.scores + i * kScoreStride, keys, bias, &s.running[i]);
  }
}

// Adds a page's values. Neighbouring rows that see as many of its keys go together.
template <typename T>
HWY_INLINE void AddValues(const PageCursor& at, const PagedScratch& s, const T* v,
                          size_t head_dim) {
  const PagedPass& pass = at.pass;
  const size_t heads = pass.heads.size();
  for (size_t row = 0; row < pass.rows.size();) {
    const size_t keys = pass.Keys(row, at.key, at.count);
    size_t behind = row + 1;
    while (behind < pass.rows.size() && pass.Keys(behind, at.key, at.count) == keys) ++behind;
    Multiply<true>(s.scores + row * heads * kScoreStride + (at.key - pass.begin), kScoreStride, v,
                   head_dim, keys, s.out + row * heads * s.dim, s.dim, (behind - row) * heads,
                   head_dim);
    row = behind;
  }
}

// Keys of the page of `at`, for all queries: scores or probabilities times the keys' scales.
HWY_INLINE void ScaleKeys(const PageCursor& at, const PagedScratch& s, const float* scales) {
  const DF d;
  float* row = s.scores + (at.key - at.pass.begin);
  for (size_t i = 0; i < at.pass.queries(); ++i, row += kScoreStride) {
    for (size_t j = 0; j < at.count; j += LanesF()) {
      const VF before = LoadF(row + j);
      const VF scaled = hn::Mul(before, LoadF(scales + j));
      // What hangs over is the next page's.
      hn::StoreU(at.count - j < LanesF()
                     ? hn::IfThenElse(hn::FirstN(d, at.count - j), scaled, before)
                     : scaled,
                 d, row + j);
    }
  }
}

HWY_INLINE const float* Scales(const PagedAttentionParams& p, const PageCursor& at,
                               size_t scale_offset) {
  return reinterpret_cast<const float*>(at.page + scale_offset) + at.pass.kv_head * p.region.slots +
         at.slot;
}

template <typename T>
HWY_INLINE void AttendPages(const PagedAttentionParams& p, const PagedPass& pass,
                            const PagedScratch& s) {
  const KvRegion& r = p.region;
  const size_t head_offset = pass.kv_head * r.head_dim * r.slots;
  PageFetcher fetcher(p, pass, sizeof(T));
  for (PageCursor at(p, pass); !at.done(); at.Next()) {
    fetcher.Next();
    const T* k = reinterpret_cast<const T*>(at.page + r.k_offset) + head_offset + at.slot;
    Multiply<false>(s.q, s.dim, k, r.slots, r.head_dim, s.scores + (at.key - pass.begin),
                    kScoreStride, pass.queries(), at.count);
    if (sizeof(T) == 1) ScaleKeys(at, s, Scales(p, at, r.k_scale_offset));
  }
  SoftmaxRows(p, pass, s);
  for (size_t i = 0; i < pass.queries() * s.dim; ++i) s.out[i] = 0.0f;
  for (PageCursor at(p, pass); !at.done(); at.Next()) {
    fetcher.Next();
    const T* v =
        reinterpret_cast<const T*>(at.page + r.v_offset) + head_offset + at.slot * r.head_dim;
    if (sizeof(T) == 1) ScaleKeys(at, s, Scales(p, at, r.v_scale_offset));
    AddValues(at, s, v, r.head_dim);
  }
}

// out[index ..] = values / sum.
HWY_INLINE void StoreQuotient(const float* values, float sum, size_t n, const Activations& out,
                              size_t index) {
  for (size_t i = 0; i < n; i += LanesF()) {
    const size_t count = n - i < LanesF() ? n - i : LanesF();
    const VF v = count == LanesF() ? LoadF(values + i) : LoadPartial(values + i, count, 0.0f);
    StoreActivation(hn::Div(v, hn::Set(DF(), sum)), out.data, out.dtype, index + i, count);
  }
}

// Results of row `row` of the pass, row `index` of the call.
HWY_INLINE void StoreRow(const PagedAttentionParams& p, const PagedPass& pass,
                         const PagedScratch& s, size_t row, size_t index,
                         const PagedPartials& partials) {
  const size_t head_dim = p.region.head_dim;
  const size_t first = partials.first_chunk[index];
  const bool single = partials.first_chunk[index + 1] - first == 1;
  const size_t chunk = first + pass.begin / kPagedChunkKeys;
  for (size_t i = 0; i < pass.heads.size(); ++i) {
    const size_t query = row * pass.heads.size() + i;
    const float* values = s.out + query * s.dim;
    if (single) {
      StoreQuotient(values, s.running[query].sum, head_dim, p.out,
                    index * p.out.cols + pass.heads[i] * head_dim);
      continue;
    }
    const size_t at = chunk * p.groups.heads.size() + pass.heads[i];
    float* partial = partials.data + at * PartialFloats(head_dim);
    for (size_t j = 0; j < head_dim; ++j) partial[j] = values[j];
    partial[head_dim] = s.running[query].max;
    partial[head_dim + 1] = s.running[query].sum;
  }
}

// Rows first_row .. of the call, which one pass serves.
HWY_INLINE void AttendRows(const PagedAttentionParams& p, PagedPass pass, size_t first_row,
                           float* scratch, const PagedPartials& partials) {
  const size_t head_dim = p.region.head_dim;
  for (size_t row = 0; row < pass.rows.size(); ++row) {
    const size_t end = pass.begin + pass.Keys(row, pass.begin, kPagedChunkKeys);
    if (end > pass.end) pass.end = end;
  }
  if (pass.end == pass.begin) return;
  const PagedScratch s(scratch, pass.queries(), head_dim);
  for (size_t i = 0; i < pass.queries(); ++i) {
    const float* q = p.q + (first_row + i / pass.heads.size()) * p.q_stride +
                     pass.heads[i % pass.heads.size()] * head_dim;
    for (size_t j = 0; j < head_dim; ++j) s.q[i * s.dim + j] = q[j];
  }
  if (p.region.dtype == DType::kI8) {
    AttendPages<int8_t>(p, pass, s);
  } else if (p.region.dtype == DType::kBF16) {
    AttendPages<uint16_t>(p, pass, s);
  } else {
    AttendPages<float>(p, pass, s);
  }
  for (size_t row = 0; row < pass.rows.size(); ++row) {
    if (pass.Keys(row, pass.begin, 1) == 0) continue;
    StoreRow(p, pass, s, row, first_row + row, partials);
  }
}

void PagedAttention(const PagedAttentionParams& p, const PagedTask& task, float* scratch,
                    const PagedPartials& partials) {
  const size_t first = p.groups.begin[task.kv_head];
  const auto heads = p.groups.heads.subspan(first, p.groups.begin[task.kv_head + 1] - first);
  if (heads.empty()) return;
  const size_t begin = task.chunk * kPagedChunkKeys;
  const size_t most = heads.size() < kPagedQueries ? kPagedQueries / heads.size() : 1;
  for (size_t done = 0; done < task.num_rows; done += most) {
    const size_t count = task.num_rows - done < most ? task.num_rows - done : most;
    const size_t row = task.first_row + done;
    AttendRows(p, {p.rows.subspan(row, count), heads, task.kv_head, begin, begin}, row, scratch,
               partials);
  }
}

// The first partial takes the sum of all: partials are this call's to use up.
void MergePartials(float* partials, size_t num_chunks, size_t chunk_stride, size_t head_dim,
                   const Activations& out, size_t out_index) {
  const DF d;
  float max = partials[head_dim];
  for (size_t c = 1; c < num_chunks; ++c) {
    const float other = partials[c * chunk_stride + head_dim];
    if (other > max) max = other;
  }
  float sum = 0.0f;
  for (size_t c = 0; c < num_chunks; ++c) {
    const float* partial = partials + c * chunk_stride;
    const VF factor = Exp(hn::Set(d, partial[head_dim] - max));
    sum += partial[head_dim + 1] * hn::GetLane(factor);
    for (size_t i = 0; i < head_dim; i += LanesF()) {
      const size_t count = head_dim - i < LanesF() ? head_dim - i : LanesF();
      const bool whole = count == LanesF();
      VF v = whole ? LoadF(partial + i) : LoadPartial(partial + i, count, 0.0f);
      v = hn::Mul(v, factor);
      if (c > 0) v = hn::Add(v, whole ? LoadF(partials + i) : LoadPartial(partials + i, count, 0));
      StoreActivation(v, partials, DType::kF32, i, count);
    }
  }
  StoreQuotient(partials, sum, head_dim, out, out_index);
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/dispatch.h"

namespace precis {

HWY_EXPORT(PagedAttention);
HWY_EXPORT(MergePartials);

size_t PagedScratchFloats(size_t num_heads, size_t head_dim) {
  const size_t queries = num_heads > kPagedQueries ? num_heads : kPagedQueries;
  return queries * (2 * PadToLanes(head_dim) + kPagedChunkKeys + 2 * kMaxLanes + 2);
}

void SelectPagedAttention(int64_t hwy_targets, CpuKernels* table) {
  table->paged_attention = PickTarget(HWY_DISPATCH_TABLE(PagedAttention), hwy_targets);
  table->merge_partials = PickTarget(HWY_DISPATCH_TABLE(MergePartials), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
