// Decode attention over pages: for neighbouring rows that share a page table, neighbouring KV heads
// and a chunk of keys. A page's K is read once for all query heads of a group and all rows, head by
// head as it lies there, then its V. What is computed of a page: kernels/cpu/paged_products.h.
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
#include "kernels/cpu/paged_products-inl.h"

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
        running(reinterpret_cast<PagedRunning*>(out + queries * dim)) {}
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
  PagedRunning* running;  // [queries]
};

// What one pass over a chunk's pages serves of one KV head: query i is head heads[i % heads.size()]
// of row i / heads.size().
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
  PageCursor(const PagedAttentionParams& params, const PagedPass& pass)
      : p(params),
        k_head_bytes(p.region.k_head_bytes()),
        v_head_bytes(p.region.v_head_bytes()),
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
    count = slots - slot < end - key ? slots - slot : end - key;
    const auto index = static_cast<size_t>(p.pages[first_page + key / slots]);
    page = p.pool.base + index * p.pool.page_bytes;
  }

  const PagedAttentionParams& p;
  size_t k_head_bytes;
  size_t v_head_bytes;
  size_t first_page;  // index into p.pages
  size_t end;
  size_t key;
  const std::byte* page = nullptr;
  size_t slot = 0;   // of `key` in its page
  size_t count = 0;  // keys in this page
};

// Fetches what a work item will read, some heads ahead: the K of its pages, with all scales, then
// their V. Its share of a page is far from the next page's, so the CPU cannot guess. Into L2: a
// core has more misses of L2 under way than of L1 (docs/performance/attention.md).
class PageFetcher {
 public:
  // `first`: the item's pass for the first of its KV heads. begin: where the query heads of each
  // begin, and of the one behind; one of them has some.
  PageFetcher(const PagedAttentionParams& p, const PagedPass& first,
              std::span<const uint32_t> begin)
      : p_(p),
        begin_(begin),
        pages_(p.pages.subspan(first.rows[0].first_page + first.begin / p.region.slots)),
        num_pages_((first.end - 1) / p.region.slots - first.begin / p.region.slots + 1),
        first_head_(first.kv_head),
        num_kv_heads_(begin.size() - 1),
        k_bytes_(p.region.k_head_bytes()),
        v_bytes_(p.region.v_head_bytes()),
        scale_bytes_(p.region.dtype == DType::kI8 ? p.region.slots * sizeof(float) : 0) {
    SkipIdleHeads();
    const size_t ahead = (kAheadBytes + k_bytes_ - 1) / k_bytes_;
    for (size_t i = 0; i < ahead; ++i) Next();
  }

  // The next head's share of a page.
  void Next() {
    if (page_ == 2 * num_pages_) return;
    const bool is_k = page_ < num_pages_;
    const auto index = static_cast<size_t>(pages_[is_k ? page_ : page_ - num_pages_]);
    const std::byte* page = p_.pool.base + index * p_.pool.page_bytes;
    const size_t head = first_head_ + head_;
    if (is_k) {
      Fetch(page + p_.region.k_offset + head * k_bytes_, k_bytes_);
      Fetch(page + p_.region.k_scale_offset + head * scale_bytes_, scale_bytes_);
      Fetch(page + p_.region.v_scale_offset + head * scale_bytes_, scale_bytes_);
    } else {
      Fetch(page + p_.region.v_offset + head * v_bytes_, v_bytes_);
    }
    ++head_;
    SkipIdleHeads();
  }

 private:
  // To the next KV head that serves a query head.
  void SkipIdleHeads() {
    for (;; ++head_) {
      if (head_ == num_kv_heads_) {
        head_ = 0;
        ++page_;
      }
      if (begin_[head_] != begin_[head_ + 1]) return;
    }
  }

  static constexpr size_t kLineBytes = 64;
  static constexpr size_t kAheadBytes = 16 << 10;  // covers a memory latency at a core's bandwidth
  static constexpr int kIntoL2 = 2;

  static HWY_INLINE void Fetch(const std::byte* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(from + i, 0, kIntoL2);
  }

  const PagedAttentionParams& p_;
  std::span<const uint32_t> begin_;
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

HWY_INLINE PageShare KeysOf(const PageCursor& at, const PagedPass& pass) {
  const KvRegion& r = at.p.region;
  const size_t scale = pass.kv_head * r.slots + at.slot;
  return {at.page + r.k_offset + pass.kv_head * at.k_head_bytes,
          reinterpret_cast<const float*>(at.page + r.k_scale_offset) + scale,
          r.slots,
          r.head_dim,
          at.slot,
          at.count};
}

HWY_INLINE PageShare ValuesOf(const PageCursor& at, const PagedPass& pass, size_t count) {
  const KvRegion& r = at.p.region;
  return {at.page + r.v_offset + pass.kv_head * at.v_head_bytes,
          nullptr,
          r.slots,
          r.head_dim,
          at.slot,
          count};
}

// Adds a page's values. Neighbouring rows that see as many of its keys go together.
HWY_INLINE void AddPage(const PageCursor& at, const PagedPass& pass, const PagedScratch& s,
                        const PagedProducts& products) {
  const size_t heads = pass.heads.size();
  for (size_t row = 0; row < pass.rows.size();) {
    const size_t keys = pass.Keys(row, at.key, at.count);
    size_t behind = row + 1;
    while (behind < pass.rows.size() && pass.Keys(behind, at.key, at.count) == keys) ++behind;
    const size_t first = row * heads;
    const size_t queries = (behind - row) * heads;
    row = behind;
    if (keys == 0 || queries == 0) continue;
    products.add_values(ValuesOf(at, pass, keys), s.scores + first * kScoreStride,
                        at.key - pass.begin, queries, s.out + first * s.dim, s.dim);
  }
}

// The probabilities of the page of `at` times the scales of their values, for all queries.
HWY_INLINE void ScaleProbabilities(const PageCursor& at, const PagedPass& pass,
                                   const PagedScratch& s) {
  const DF d;
  const float* scales = reinterpret_cast<const float*>(at.page + at.p.region.v_scale_offset) +
                        pass.kv_head * at.p.region.slots + at.slot;
  float* row = s.scores + (at.key - pass.begin);
  for (size_t i = 0; i < pass.queries(); ++i, row += kScoreStride) {
    const size_t keys = pass.Keys(i / pass.heads.size(), at.key, at.count);
    for (size_t j = 0; j < keys; j += LanesF()) {
      const VF before = LoadF(row + j);
      const VF scaled = hn::Mul(before, LoadF(scales + j));
      // What hangs over is the next page's, or zeros.
      hn::StoreU(
          keys - j < LanesF() ? hn::IfThenElse(hn::FirstN(d, keys - j), scaled, before) : scaled, d,
          row + j);
    }
  }
}

// A work item: the passes of neighbouring KV heads, which go over the pages together.
struct PagedItem {
  // The share of a KV head, counted from the item's first; `queries` is where its queries begin.
  PagedPass Pass(size_t i, size_t* queries) const {
    const size_t kv_head = first_kv_head + i;
    const size_t first = groups.begin[kv_head];
    *queries = rows.size() * (first - groups.begin[first_kv_head]);
    return {rows, groups.heads.subspan(first, groups.begin[kv_head + 1] - first), kv_head, begin,
            end};
  }

  std::span<const PagedRow> rows;
  HeadGroups groups;  // of all these rows
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
    const PagedPass pass = item.Pass(i, &queries);
    if (pass.heads.empty()) continue;
    const PagedScratch s = all.From(queries);
    SoftmaxRows(p, pass, s);
    if (p.region.dtype == DType::kI8) {
      for (PageCursor at(p, pass); !at.done(); at.Next()) ScaleProbabilities(at, pass, s);
    }
    for (size_t j = 0; j < pass.queries(); ++j) {
      const size_t keys = pass.Keys(j / pass.heads.size(), pass.begin, pass.end - pass.begin);
      if (products.round == nullptr || keys == 0) continue;
      products.round(s.scores + j * kScoreStride, keys, &s.running[j].factor);
    }
    for (size_t j = 0; j < pass.queries() * s.dim; ++j) s.out[j] = 0.0f;
  }
}

HWY_INLINE void AttendPages(const PagedAttentionParams& p, const PagedItem& item,
                            const PagedScratch& all, const PagedProducts& products) {
  size_t queries = 0;
  const PagedPass first = item.Pass(0, &queries);
  PageFetcher fetcher(p, first,
                      item.groups.begin.subspan(item.first_kv_head, item.num_kv_heads + 1));
  for (PageCursor at(p, first); !at.done(); at.Next()) {
    for (size_t i = 0; i < item.num_kv_heads; ++i) {
      const PagedPass pass = item.Pass(i, &queries);
      if (pass.heads.empty()) continue;
      fetcher.Next();
      const PagedScratch s = all.From(queries);
      products.score(KeysOf(at, pass), s.q, s.dim, pass.queries(), s.scores + at.key - pass.begin);
    }
  }
  WeighPages(p, item, all, products);
  for (PageCursor at(p, first); !at.done(); at.Next()) {
    for (size_t i = 0; i < item.num_kv_heads; ++i) {
      const PagedPass pass = item.Pass(i, &queries);
      if (pass.heads.empty()) continue;
      fetcher.Next();
      AddPage(at, pass, all.From(queries), products);
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
      item.rows.size() * (item.groups.begin[item.first_kv_head + item.num_kv_heads] -
                          item.groups.begin[item.first_kv_head]);
  const PagedScratch all(scratch, all_queries, p.region.head_dim);
  size_t queries = 0;
  for (size_t i = 0; i < item.num_kv_heads; ++i) {
    const PagedPass pass = item.Pass(i, &queries);
    LoadQueries(p, pass, first_row, all.From(queries), products);
  }
  AttendPages(p, item, all, products);
  for (size_t i = 0; i < item.num_kv_heads; ++i) {
    const PagedPass pass = item.Pass(i, &queries);
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

void PagedAttention(const PagedAttentionParams& p, const PagedTask& task,
                    const PagedProducts* products, float* scratch, const PagedPartials& partials) {
  const HeadGroups groups = GroupsOf(p, task.first_row);
  const size_t heads =
      groups.begin[task.first_kv_head + task.num_kv_heads] - groups.begin[task.first_kv_head];
  if (heads == 0) return;
  if (products == nullptr) products = &ProductsOf(p.region.dtype);
  const size_t begin = task.chunk * kPagedChunkKeys;
  const size_t most = heads < kPagedQueries ? kPagedQueries / heads : 1;
  for (size_t done = 0; done < task.num_rows; done += most) {
    const size_t count = task.num_rows - done < most ? task.num_rows - done : most;
    const size_t row = task.first_row + done;
    AttendItem(
        p,
        {p.rows.subspan(row, count), groups, task.first_kv_head, task.num_kv_heads, begin, begin},
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
#include "kernels/cpu/dispatch.h"

namespace precis {

HWY_EXPORT(PagedAttention);
HWY_EXPORT(MergePartials);

size_t PagedScratchFloats(size_t num_heads, size_t head_dim) {
  const size_t queries = num_heads > kPagedQueries ? num_heads : kPagedQueries;
  return queries * (2 * PadToLanes(head_dim) + kScoreStride + 3);
}

void SelectPagedAttention(int64_t hwy_targets, CpuKernels* table) {
  table->paged_attention = PickTarget(HWY_DISPATCH_TABLE(PagedAttention), hwy_targets);
  table->merge_partials = PickTarget(HWY_DISPATCH_TABLE(MergePartials), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
