// Decode attention over pages: for neighbouring rows that share a page table, neighbouring KV heads
// and a chunk of keys. A page's K is read once for all query heads of a group and all rows, head by
// head as it lies there, then its V. What is computed of a page:
// kernels/cpu/isa/paged_products.h.
//
// A row's bits are those it has alone: scores of keys that it does not see are computed and not
// used, and in the sum of values it takes part up to its own last key.
#include <cmath>

#include "kernels/cpu/isa/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention/paged_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/attention/attention-inl.h"
#include "kernels/cpu/attention/paged_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

struct PagedRunning {
  Running softmax;
  float factor;  // of PagedProducts::round
};

struct PagedScratch {
  PagedScratch(float* base, size_t queries, size_t head_dim)
      : dim(PadToLanes(head_dim)),
        q(base),
        scores(q + queries * dim),
        out(scores + queries * kScoreStride),
        scales(out + queries * dim),
        running(reinterpret_cast<PagedRunning*>(scales + kScoreStride)) {}
  // The share of the queries from `first` on.
  PagedScratch From(size_t first) const {
    PagedScratch share = *this;
    share.q += first * dim;
    share.scores += first * kScoreStride;
    share.out += first * dim;
    share.running += first;
    return share;
  }
  size_t dim;
  float* q;               // [queries, dim]
  float* scores;          // [queries, kScoreStride]
  float* out;             // [queries, dim]
  float* scales;          // [kScoreStride], of int8: those of a head's values
  PagedRunning* running;  // [queries]
};

// What one pass over a chunk's pages serves of one KV head: query i is head heads[i % heads.size()]
// of row i / heads.size().
struct PagedPass {
  std::span<const PagedRow> rows;
  std::span<const uint32_t> heads;
  size_t kv_head;
  size_t begin;  // the chunk's first key
  size_t end;    // after the last key in the chunk that any of the rows sees

  size_t queries() const { return rows.size() * heads.size(); }
  // Keys of the chunk that a row sees, at most `most` of them.
  size_t Keys(size_t row, size_t from, size_t most) const {
    const size_t keys = rows[row].num_keys > from ? rows[row].num_keys - from : 0;
    return keys < most ? keys : most;
  }
};

HWY_INLINE size_t PagesOfRun(const KvRegion& region, size_t num_kv_heads) {
  // Of other types reading is what takes the time, and a page at a time is read faster.
  if (region.dtype != DType::kI8) return 1;
  const size_t pages = kRunBytes / (num_kv_heads * region.k_head_bytes());
  return pages < 1 ? 1 : pages < kRunPages ? pages : kRunPages;
}

// Walks over the pages that hold the keys of a pass, a run of them at a time.
struct PageCursor {
  // For `num_kv_heads` that go together.
  PageCursor(const PagedAttentionParams& params, const PagedPass& pass, size_t num_kv_heads)
      : p(params),
        most_pages(PagesOfRun(params.region, num_kv_heads)),
        first_page(pass.rows[0].first_page),
        end(pass.end),
        key(pass.begin) {
    Find();
  }
  bool done() const { return key == end; }
  void Next() {
    key += count;
    if (!done()) Find();
  }
  void Find() {
    const size_t slots = p.region.slots;
    slot = key % slots;
    const size_t whole = most_pages * slots - slot;
    count = whole < end - key ? whole : end - key;
    num_pages = (slot + count - 1) / slots + 1;
    for (size_t i = 0; i < num_pages; ++i) {
      const auto index = static_cast<size_t>(p.pages[first_page + key / slots + i]);
      pages[i] = p.pool.base + index * p.pool.page_bytes;
    }
  }

  const PagedAttentionParams& p;
  size_t most_pages;
  size_t first_page;  // index into p.pages
  size_t end;
  size_t key;
  const std::byte* pages[kRunPages];
  size_t num_pages = 0;
  size_t slot = 0;   // of `key` in its page
  size_t count = 0;  // keys in these pages
};

// Fetches what a work item will read, some heads ahead: the K of its pages, with all scales, then
// their V. Its share of a page is far from the next page's, so the CPU cannot guess. Into L2: a
// core has more misses of L2 under way than of L1 (docs/performance/attention.md).
class PageFetcher {
 public:
  // `first`: the item's pass for the first of its KV heads.
  PageFetcher(const PagedAttentionParams& p, const PagedPass& first, size_t num_kv_heads)
      : p_(p),
        pages_(p.pages.subspan(first.rows[0].first_page + first.begin / p.region.slots)),
        num_pages_((first.end - 1) / p.region.slots - first.begin / p.region.slots + 1),
        first_head_(first.kv_head),
        num_kv_heads_(num_kv_heads),
        k_bytes_(p.region.k_head_bytes()),
        v_bytes_(p.region.v_head_bytes()),
        scale_bytes_(p.region.dtype == DType::kI8 ? p.region.slots * sizeof(float) : 0) {
    SkipIdleHeads();
    // A run's pages are used head by head.
    Fetch((kAheadBytes + k_bytes_ - 1) / k_bytes_ +
          (PagesOfRun(p.region, num_kv_heads) - 1) * num_kv_heads);
  }

  // The next `count` shares that a head has of a page. One share, and not of int8, the scales of
  // which lie apart, can be left to products that ask themselves.
  BytesAhead Next(size_t count, bool leave) {
    if (leave) return Leave();
    Fetch(count);
    return {};
  }

 private:
  static constexpr size_t kLineBytes = 64;
  static constexpr size_t kAheadBytes = 16 << 10;  // covers a memory latency at a core's bandwidth
  static constexpr int kIntoL2 = 2;

  bool done() const { return page_ == 2 * num_pages_; }
  bool is_k() const { return page_ < num_pages_; }
  const std::byte* Page() const {
    const auto index = static_cast<size_t>(pages_[is_k() ? page_ : page_ - num_pages_]);
    return p_.pool.base + index * p_.pool.page_bytes;
  }
  const std::byte* Share() const {
    const size_t head = first_head_ + head_;
    return Page() +
           (is_k() ? p_.region.k_offset + head * k_bytes_ : p_.region.v_offset + head * v_bytes_);
  }
  size_t ShareBytes() const { return is_k() ? k_bytes_ : v_bytes_; }

  BytesAhead Leave() {
    if (done()) return {};
    const BytesAhead share = {Share(), Share() + ShareBytes()};
    Advance();
    return share;
  }

  void Fetch(size_t shares) {
    for (; shares > 0 && !done(); --shares) {
      FetchLines(Share(), ShareBytes());
      if (is_k()) {
        const size_t scales = (first_head_ + head_) * scale_bytes_;
        FetchLines(Page() + p_.region.k_scale_offset + scales, scale_bytes_);
        FetchLines(Page() + p_.region.v_scale_offset + scales, scale_bytes_);
      }
      Advance();
    }
  }

  void Advance() {
    ++head_;
    SkipIdleHeads();
  }

  // To the next KV head that serves a query head, of which the item has at least one.
  void SkipIdleHeads() {
    for (;; ++head_) {
      if (head_ == num_kv_heads_) {
        head_ = 0;
        ++page_;
      }
      const uint32_t* begin = &p_.groups.begin[first_head_ + head_];
      if (begin[0] != begin[1]) return;
    }
  }

  static HWY_INLINE void FetchLines(const std::byte* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(from + i, 0, kIntoL2);
  }

  const PagedAttentionParams& p_;
  std::span<const int32_t> pages_;
  size_t num_pages_;
  size_t first_head_;  // of the item
  size_t num_kv_heads_;
  size_t k_bytes_;  // of a head in a page
  size_t v_bytes_;
  size_t scale_bytes_;
  size_t page_ = 0;  // of num_pages_ for K, then as many for V
  size_t head_ = 0;
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
    s.running[i].softmax = {-HUGE_VALF, 0.0f};
    SoftmaxChunk(s.scores + i * kScoreStride, keys, bias, &s.running[i].softmax);
  }
}

HWY_INLINE PageRun KeysOf(const PageCursor& at, const PagedPass& pass, const BytesAhead& ahead) {
  const KvRegion& r = at.p.region;
  return {.pages = at.pages,
          .offset = r.k_offset + pass.kv_head * r.k_head_bytes(),
          .scale_offset = r.k_scale_offset + pass.kv_head * r.slots * sizeof(float),
          .slots = r.slots,
          .head_dim = r.head_dim,
          .first = at.slot,
          .count = at.count,
          .ahead = ahead};
}

HWY_INLINE PageRun ValuesOf(const PageCursor& at, const PagedPass& pass, size_t count,
                            const BytesAhead& ahead) {
  const KvRegion& r = at.p.region;
  return {.pages = at.pages,
          .offset = r.v_offset + pass.kv_head * r.v_head_bytes(),
          .scale_offset = 0,
          .slots = r.slots,
          .head_dim = r.head_dim,
          .first = at.slot,
          .count = count,
          .ahead = ahead};
}

HWY_INLINE bool Asks(const PagedPass& pass, const PagedProducts& products) {
  return products.asks != nullptr && products.asks(pass.queries());
}

// Adds the values of a run of pages. Neighbouring rows that see as many of its keys go together.
HWY_INLINE void AddRun(const PageCursor& at, const PagedPass& pass, const PagedScratch& s,
                       const PagedProducts& products, PageFetcher* fetcher) {
  BytesAhead ahead = fetcher->Next(at.num_pages, Asks(pass, products));
  const size_t heads = pass.heads.size();
  for (size_t row = 0; row < pass.rows.size();) {
    const size_t keys = pass.Keys(row, at.key, at.count);
    size_t behind = row + 1;
    while (behind < pass.rows.size() && pass.Keys(behind, at.key, at.count) == keys) ++behind;
    const size_t first = row * heads;
    const size_t queries = (behind - row) * heads;
    row = behind;
    if (keys == 0 || queries == 0) continue;
    products.add_values(ValuesOf(at, pass, keys, ahead), s.scores + first * kScoreStride,
                        at.key - pass.begin, queries, s.out + first * s.dim, s.dim);
    ahead = {};  // asked for once
  }
}

// The scales of a pass's values, side by side.
HWY_INLINE void TakeScales(const PagedAttentionParams& p, const PagedPass& pass, float* scales) {
  const size_t offset = p.region.v_scale_offset + pass.kv_head * p.region.slots * sizeof(float);
  for (PageCursor at(p, pass, 1); !at.done(); at.Next()) {
    size_t slot = at.slot;
    for (size_t page = 0, left = at.count; page < at.num_pages; ++page, slot = 0) {
      const auto* from = reinterpret_cast<const float*>(at.pages[page] + offset) + slot;
      const size_t count = left < p.region.slots - slot ? left : p.region.slots - slot;
      for (size_t i = 0; i < count; ++i) scales[i] = from[i];
      scales += count;
      left -= count;
    }
  }
}

// A work item: the passes of neighbouring KV heads, which go over the pages together.
struct PagedItem {
  // The share of a KV head, counted from the item's first; `queries` is where its queries begin.
  PagedPass Pass(const PagedAttentionParams& p, size_t i, size_t* queries) const {
    const size_t kv_head = first_kv_head + i;
    const size_t first = p.groups.begin[kv_head];
    *queries = rows.size() * (first - p.groups.begin[first_kv_head]);
    return {rows, p.groups.heads.subspan(first, p.groups.begin[kv_head + 1] - first), kv_head,
            begin, end};
  }

  std::span<const PagedRow> rows;
  size_t first_kv_head;
  size_t num_kv_heads;
  size_t begin;  // as in PagedPass
  size_t end;
};

// Probabilities of all queries, as `add_values` takes them.
HWY_INLINE void WeighPages(const PagedAttentionParams& p, const PagedItem& item,
                           const PagedScratch& all, const PagedProducts& products) {
  size_t queries = 0;
  for (size_t i = 0; i < item.num_kv_heads; ++i) {
    const PagedPass pass = item.Pass(p, i, &queries);
    if (pass.heads.empty()) continue;
    const PagedScratch s = all.From(queries);
    SoftmaxRows(p, pass, s);
    if (p.region.dtype == DType::kI8) TakeScales(p, pass, s.scales);
    for (size_t j = 0; j < pass.queries(); ++j) {
      const size_t keys = pass.Keys(j / pass.heads.size(), pass.begin, pass.end - pass.begin);
      if (products.weigh == nullptr || keys == 0) continue;
      products.weigh(s.scores + j * kScoreStride, keys, s.scales, &s.running[j].factor);
    }
    for (size_t j = 0; j < pass.queries() * s.dim; ++j) s.out[j] = 0.0f;
  }
}

HWY_INLINE void AttendPages(const PagedAttentionParams& p, const PagedItem& item,
                            const PagedScratch& all, const PagedProducts& products) {
  size_t queries = 0;
  const PagedPass first = item.Pass(p, 0, &queries);
  PageFetcher fetcher(p, first, item.num_kv_heads);
  for (PageCursor at(p, first, item.num_kv_heads); !at.done(); at.Next()) {
    for (size_t i = 0; i < item.num_kv_heads; ++i) {
      const PagedPass pass = item.Pass(p, i, &queries);
      if (pass.heads.empty()) continue;
      const PagedScratch s = all.From(queries);
      const BytesAhead ahead = fetcher.Next(at.num_pages, Asks(pass, products));
      products.score(KeysOf(at, pass, ahead), s.q, s.dim, pass.queries(),
                     s.scores + at.key - pass.begin);
    }
  }
  WeighPages(p, item, all, products);
  for (PageCursor at(p, first, item.num_kv_heads); !at.done(); at.Next()) {
    for (size_t i = 0; i < item.num_kv_heads; ++i) {
      const PagedPass pass = item.Pass(p, i, &queries);
      if (pass.heads.empty()) continue;
      AddRun(at, pass, all.From(queries), products, &fetcher);
    }
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

// The sums of row `row` of the pass become values.
HWY_INLINE void FinishRow(const PagedPass& pass, const PagedScratch& s, size_t row, size_t head_dim,
                          const PagedProducts& products) {
  if (products.finish == nullptr) return;
  for (size_t i = row * pass.heads.size(); i < (row + 1) * pass.heads.size(); ++i) {
    products.finish(s.running[i].factor, head_dim, s.out + i * s.dim);
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
      StoreQuotient(values, s.running[query].softmax.sum, head_dim, p.out,
                    index * p.out.cols + pass.heads[i] * head_dim);
      continue;
    }
    const size_t at = chunk * p.groups.heads.size() + pass.heads[i];
    float* partial = partials.data + at * PartialFloats(head_dim);
    for (size_t j = 0; j < head_dim; ++j) partial[j] = values[j];
    partial[head_dim] = s.running[query].softmax.max;
    partial[head_dim + 1] = s.running[query].softmax.sum;
  }
}

HWY_INLINE void LoadQueries(const PagedAttentionParams& p, const PagedPass& pass, size_t first_row,
                            const PagedScratch& s, const PagedProducts& products) {
  const size_t head_dim = p.region.head_dim;
  for (size_t i = 0; i < pass.queries(); ++i) {
    const float* q = p.q + (first_row + i / pass.heads.size()) * p.q_stride +
                     pass.heads[i % pass.heads.size()] * head_dim;
    products.load_query(q, head_dim, s.q + i * s.dim);
  }
}

// The item's rows are rows first_row .. of the call; its end is found here.
HWY_INLINE void AttendItem(const PagedAttentionParams& p, PagedItem item, size_t first_row,
                           const PagedProducts& products, float* scratch,
                           const PagedPartials& partials) {
  for (const PagedRow& row : item.rows) {
    const size_t most = item.begin + kPagedChunkKeys;
    const size_t end = row.num_keys < most ? row.num_keys : most;
    if (end > item.end) item.end = end;
  }
  if (item.end == item.begin) return;
  const size_t all_queries =
      item.rows.size() *
      (p.groups.begin[item.first_kv_head + item.num_kv_heads] - p.groups.begin[item.first_kv_head]);
  const PagedScratch all(scratch, all_queries, p.region.head_dim);
  size_t queries = 0;
  for (size_t i = 0; i < item.num_kv_heads; ++i) {
    const PagedPass pass = item.Pass(p, i, &queries);
    LoadQueries(p, pass, first_row, all.From(queries), products);
  }
  AttendPages(p, item, all, products);
  for (size_t i = 0; i < item.num_kv_heads; ++i) {
    const PagedPass pass = item.Pass(p, i, &queries);
    const PagedScratch s = all.From(queries);
    for (size_t row = 0; row < item.rows.size(); ++row) {
      if (pass.Keys(row, pass.begin, 1) == 0) continue;
      FinishRow(pass, s, row, p.region.head_dim, products);
      StoreRow(p, pass, s, row, first_row + row, partials);
    }
  }
}

HWY_INLINE const PagedProducts& ProductsOf(DType dtype) {
  if (dtype == DType::kI8) return kInt8Products;
  return dtype == DType::kBF16 ? kBF16Products : kF32Products;
}

void PagedAttention(const PagedAttentionParams& params, const PagedTask& task,
                    const PagedProducts* products, float* scratch, const PagedPartials& partials) {
  PagedAttentionParams p = params;
  p.groups = GroupsOf(params, task.first_row);  // of all rows of the task
  const size_t heads =
      p.groups.begin[task.first_kv_head + task.num_kv_heads] - p.groups.begin[task.first_kv_head];
  if (heads == 0) return;
  if (products == nullptr) products = &ProductsOf(p.region.dtype);
  const size_t begin = task.chunk * kPagedChunkKeys;
  const size_t most = heads < kPagedQueries ? kPagedQueries / heads : 1;
  for (size_t done = 0; done < task.num_rows; done += most) {
    const size_t count = task.num_rows - done < most ? task.num_rows - done : most;
    const size_t row = task.first_row + done;
    AttendItem(p, {p.rows.subspan(row, count), task.first_kv_head, task.num_kv_heads, begin, begin},
               row, *products, scratch, partials);
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
#include "kernels/cpu/isa/dispatch.h"

namespace precis {

HWY_EXPORT(PagedAttention);
HWY_EXPORT(MergePartials);

size_t PagedScratchFloats(size_t num_heads, size_t head_dim) {
  const size_t queries = num_heads > kPagedQueries ? num_heads : kPagedQueries;
  return queries * (2 * PadToLanes(head_dim) + kScoreStride + 3) + kScoreStride;
}

void SelectPagedAttention(int64_t hwy_targets, CpuKernels* table) {
  table->paged_attention = PickTarget(HWY_DISPATCH_TABLE(PagedAttention), hwy_targets);
  table->merge_partials = PickTarget(HWY_DISPATCH_TABLE(MergePartials), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
