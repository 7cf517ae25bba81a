// Decode attention over pages: for one row, KV head and chunk of keys. A page's K is read once for
// all query heads of the group, then its V. Keys are lanes of a vector for the scores, dimensions
// are for the sum of values.
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
  PagedScratch(float* base, size_t heads, size_t head_dim)
      : dim(PadToLanes(head_dim)),
        q(base),
        scores(q + heads * dim),
        out(scores + heads * kScoreStride) {}
  size_t dim;
  float* q;       // [heads of the group, dim]
  float* scores;  // [heads of the group, kScoreStride]
  float* out;     // [heads of the group, dim]
};

// Walks over the pages that hold the keys [begin, end) of a row.
struct PageCursor {
  PageCursor(const PagedAttentionParams& params, const PagedRow& r, size_t begin_key,
             size_t end_key)
      : p(params), row(r), begin(begin_key), end(end_key), key(begin_key) {
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
    const auto index = static_cast<size_t>(p.pages[row.first_page + key / slots]);
    page = p.pool.base + index * p.pool.page_bytes;
  }

  const PagedAttentionParams& p;
  const PagedRow& row;
  size_t begin;
  size_t end;
  size_t key;
  const std::byte* page = nullptr;
  size_t slot = 0;   // of `key` in its page
  size_t count = 0;  // keys in this page
};

template <typename T>
HWY_INLINE void AttendPages(const PagedAttentionParams& p, const PagedRow& row, size_t kv_head,
                            size_t begin, size_t end, const PagedScratch& s,
                            std::span<const uint32_t> heads, Running* running) {
  const KvRegion& r = p.region;
  const size_t head_offset = kv_head * r.head_dim * r.slots;
  for (PageCursor at(p, row, begin, end); !at.done(); at.Next()) {
    const T* k = reinterpret_cast<const T*>(at.page + r.k_offset) + head_offset + at.slot;
    Multiply<false>(s.q, s.dim, k, r.slots, r.head_dim, s.scores + (at.key - begin), kScoreStride,
                    heads.size(), at.count);
  }
  for (size_t i = 0; i < heads.size(); ++i) {
    const float* bias = p.bias.data == nullptr ? nullptr
                                               : p.bias.data + heads[i] * p.bias.stride +
                                                     p.bias.zero + begin - row.position;
    running[i] = {-HUGE_VALF, 0.0f};
    SoftmaxChunk(s.scores + i * kScoreStride, end - begin, bias, &running[i]);
  }
  for (size_t i = 0; i < heads.size() * s.dim; ++i) s.out[i] = 0.0f;
  for (PageCursor at(p, row, begin, end); !at.done(); at.Next()) {
    const T* v =
        reinterpret_cast<const T*>(at.page + r.v_offset) + head_offset + at.slot * r.head_dim;
    Multiply<true>(s.scores + (at.key - begin), kScoreStride, v, r.head_dim, at.count, s.out, s.dim,
                   heads.size(), r.head_dim);
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

void PagedAttention(const PagedAttentionParams& p, size_t row_index, size_t kv_head, size_t chunk,
                    float* scratch, float* partials) {
  const size_t head_dim = p.region.head_dim;
  const size_t first = p.groups.begin[kv_head];
  const auto heads = p.groups.heads.subspan(first, p.groups.begin[kv_head + 1] - first);
  if (heads.empty()) return;
  const PagedRow& row = p.rows[row_index];
  const size_t begin = chunk * kPagedChunkKeys;
  const size_t end =
      row.num_keys - begin < kPagedChunkKeys ? row.num_keys : begin + kPagedChunkKeys;
  // One Running a head stands behind the other scratch.
  const PagedScratch s(scratch, heads.size(), head_dim);
  auto* running = reinterpret_cast<Running*>(s.out + heads.size() * s.dim);
  for (size_t i = 0; i < heads.size(); ++i) {
    const float* q = p.q + row_index * p.q_stride + heads[i] * head_dim;
    for (size_t j = 0; j < head_dim; ++j) s.q[i * s.dim + j] = q[j];
  }
  if (p.region.dtype == DType::kBF16) {
    AttendPages<uint16_t>(p, row, kv_head, begin, end, s, heads, running);
  } else {
    AttendPages<float>(p, row, kv_head, begin, end, s, heads, running);
  }
  for (size_t i = 0; i < heads.size(); ++i) {
    const float* values = s.out + i * s.dim;
    if (partials == nullptr) {
      StoreQuotient(values, running[i].sum, head_dim, p.out,
                    row_index * p.out.cols + heads[i] * head_dim);
    } else {
      float* partial = partials + heads[i] * PartialFloats(head_dim);
      for (size_t j = 0; j < head_dim; ++j) partial[j] = values[j];
      partial[head_dim] = running[i].max;
      partial[head_dim + 1] = running[i].sum;
    }
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
  return num_heads * (2 * PadToLanes(head_dim) + kPagedChunkKeys + 2 * kMaxLanes + 2);
}

void SelectPagedAttention(int64_t hwy_targets, CpuKernels* table) {
  table->paged_attention = PickTarget(HWY_DISPATCH_TABLE(PagedAttention), hwy_targets);
  table->merge_partials = PickTarget(HWY_DISPATCH_TABLE(MergePartials), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
