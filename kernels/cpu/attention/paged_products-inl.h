// Paged attention's products for any target, in f32: words of a page (KvRegion) are taken apart by
// shifts. Keys are lanes of a vector for the scores, dimensions are for the sum of values.
//
// Included once per target by paged_attention.cc. Thread rule: pure but for their outputs.
#if defined(PRECIS_KERNELS_CPU_PAGED_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PRECIS_KERNELS_CPU_PAGED_PRODUCTS_INL_H_
#undef PRECIS_KERNELS_CPU_PAGED_PRODUCTS_INL_H_
#else
#define PRECIS_KERNELS_CPU_PAGED_PRODUCTS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/attention/attention-inl.h"
#include "kernels/cpu/isa/paged_products.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

using VU = hn::Vec<DU>;

// A byte is converted where it lies highest in its word, which saves shifting it down: values of
// int8 come out this much too large, and all that is summed up of them.
constexpr float kInt8PartScale = 0x1p24f;

// A page's part of a run.
struct PagePart {
  explicit PagePart(const PageRun& of) : run(of), first(of.first) { Count(); }
  void Next() {
    key += count;
    first = 0;
    ++page;
    Count();
  }
  void Count() {
    const size_t left = run.count - key;
    count = left < run.slots - first ? left : run.slots - first;
  }
  const uint32_t* words() const {
    return reinterpret_cast<const uint32_t*>(run.pages[page] + run.offset);
  }
  // Of int8: that of the first key.
  const float* scales() const {
    return reinterpret_cast<const float*>(run.pages[page] + run.scale_offset) + first;
  }

  const PageRun& run;
  size_t page = 0;   // index into run.pages
  size_t key = 0;    // of the run, where the part begins
  size_t first;      // slot of the first key
  size_t count = 0;  // keys; none after the run's end
};

HWY_INLINE VU LoadWords(const uint32_t* p) { return hn::LoadU(DU(), p); }

// Value i of each word, i < kPack.
template <size_t kPack>
HWY_INLINE VF Part(VU words, size_t i) {
  if (kPack == 1) return hn::BitCast(DF(), words);
  if (kPack == 2) {
    return hn::BitCast(
        DF(), i == 0 ? hn::ShiftLeft<16>(words) : hn::And(words, hn::Set(DU(), 0xffff0000u)));
  }
  if (i == 0) words = hn::ShiftLeft<24>(words);
  if (i == 1) words = hn::ShiftLeft<16>(words);
  if (i == 2) words = hn::ShiftLeft<8>(words);
  if (i != 0) words = hn::And(words, hn::Set(DU(), 0xff000000u));
  return hn::ConvertTo(DF(), hn::BitCast(DI(), words));
}

// Dot products of kRows queries with one vector of keys, times the keys' scales where there are
// any. Four sums, of the dimensions d mod 4: a page has often just one vector of keys, and a single
// sum would wait for itself at every dimension.
template <size_t kRows, size_t kPack>
HWY_INLINE void ScoreTile(const float* HWY_RESTRICT q, size_t q_stride,
                          const uint32_t* HWY_RESTRICT k, size_t slots, size_t head_dim,
                          const float* HWY_RESTRICT scales, float* HWY_RESTRICT scores) {
  constexpr size_t kSums = 4;
  const DF d;
  VF sums[kRows][kSums];
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kSums; ++j) sums[i][j] = hn::Zero(d);
  }
  size_t dim = 0;
  for (; dim + kSums <= head_dim; dim += kSums) {
    for (size_t word = 0; word < kSums / kPack; ++word, k += slots) {
      const VU words = LoadWords(k);
      for (size_t part = 0; part < kPack; ++part) {
        const size_t j = word * kPack + part;
        const VF keys = Part<kPack>(words, part);
        for (size_t i = 0; i < kRows; ++i) {
          sums[i][j] = hn::MulAdd(hn::Set(d, q[i * q_stride + dim + j]), keys, sums[i][j]);
        }
      }
    }
  }
  for (size_t rest = 0; dim < head_dim; ++dim, ++rest) {
    const VF keys = Part<kPack>(LoadWords(k + rest / kPack * slots), rest % kPack);
    for (size_t i = 0; i < kRows; ++i) {
      sums[i][0] = hn::MulAdd(hn::Set(d, q[i * q_stride + dim]), keys, sums[i][0]);
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    VF sum = hn::Add(hn::Add(sums[i][0], sums[i][1]), hn::Add(sums[i][2], sums[i][3]));
    if (kPack == 4) {
      sum = hn::Mul(hn::Mul(sum, hn::Set(d, 1.0f / kInt8PartScale)), LoadF(scales));
    }
    hn::StoreU(sum, d, scores + i * kScoreStride);
  }
}

// Queries of a tile: their sums fill about half of the registers.
#if HWY_TARGET == HWY_AVX3
constexpr size_t kScoreRows = 4;
#else
constexpr size_t kScoreRows = 2;
#endif

template <size_t kRows, size_t kPack>
HWY_INLINE void ScoreRows(const PagePart& keys, const float* q, size_t dim, float* scores) {
  const uint32_t* k = keys.words() + keys.first;
  for (size_t j = 0; j < keys.count; j += LanesF()) {
    ScoreTile<kRows, kPack>(q, dim, k + j, keys.run.slots, keys.run.head_dim,
                            kPack == 4 ? keys.scales() + j : nullptr, scores + j);
  }
}

template <size_t kPack>
HWY_INLINE void ScorePage(const PagePart& keys, const float* q, size_t dim, size_t queries,
                          float* scores) {
  for (; queries >= kScoreRows; queries -= kScoreRows) {
    ScoreRows<kScoreRows, kPack>(keys, q, dim, scores);
    q += kScoreRows * dim;
    scores += kScoreRows * kScoreStride;
  }
  if (queries == 3) ScoreRows<3, kPack>(keys, q, dim, scores);
  if (queries == 2) ScoreRows<2, kPack>(keys, q, dim, scores);
  if (queries == 1) ScoreRows<1, kPack>(keys, q, dim, scores);
}

template <size_t kPack>
void ScoreKeys(const PageRun& keys, const float* q, size_t dim, size_t queries, float* scores) {
  for (PagePart part(keys); part.count > 0; part.Next()) {
    ScorePage<kPack>(part, q, dim, queries, scores + part.key);
  }
}

// acc[i][j] += p[i] * part `part` of the words of vector j.
template <size_t kRows, size_t kVectors, size_t kPack>
HWY_INLINE void AddPart(const VU (&words)[kVectors], size_t part, const float* HWY_RESTRICT p,
                        VF (&acc)[kRows][kVectors]) {
  VF values[kVectors];
  for (size_t j = 0; j < kVectors; ++j) values[j] = Part<kPack>(words[j], part);
  for (size_t i = 0; i < kRows; ++i) {
    const VF left = hn::Set(DF(), p[i * kScoreStride]);
    for (size_t j = 0; j < kVectors; ++j) acc[i][j] = hn::MulAdd(left, values[j], acc[i][j]);
  }
}

// Values of kRows queries, kVectors vectors of dimensions: slots in ascending order, one fused
// multiply-add each.
template <size_t kRows, size_t kVectors, size_t kPack>
HWY_INLINE void ValueTile(const PagePart& values, const uint32_t* HWY_RESTRICT v,
                          const float* HWY_RESTRICT p, float* HWY_RESTRICT out, size_t dim) {
  const size_t lanes = LanesF();
  VF acc[kRows][kVectors];
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kVectors; ++j) acc[i][j] = LoadF(out + i * dim + j * lanes);
  }
  const size_t end = values.first + values.count;
  for (size_t slot = values.first; slot < end;) {
    VU words[kVectors];
    for (size_t j = 0; j < kVectors; ++j) {
      words[j] = LoadWords(v + slot / kPack * values.run.head_dim + j * lanes);
    }
    if (slot % kPack == 0 && slot + kPack <= end) {
      for (size_t part = 0; part < kPack; ++part, ++p) {
        AddPart<kRows, kVectors, kPack>(words, part, p, acc);
      }
      slot += kPack;
      continue;
    }
    const size_t next = (slot / kPack + 1) * kPack;
    for (; slot < next && slot < end; ++slot, ++p) {
      AddPart<kRows, kVectors, kPack>(words, slot % kPack, p, acc);
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kVectors; ++j) hn::StoreU(acc[i][j], DF(), out + i * dim + j * lanes);
  }
}

// All dimensions of kRows queries: whole vectors, read and written up to a vector past them.
template <size_t kRows, size_t kPack>
HWY_INLINE void ValueRows(const PagePart& values, const float* p, float* out, size_t dim) {
  const size_t lanes = LanesF();
  const uint32_t* v = values.words();
  size_t vectors = (values.run.head_dim + lanes - 1) / lanes;
  for (; vectors >= kTileVectors; vectors -= kTileVectors) {
    ValueTile<kRows, kTileVectors, kPack>(values, v, p, out, dim);
    v += kTileVectors * lanes;
    out += kTileVectors * lanes;
  }
  for (; vectors > 0; --vectors) {
    ValueTile<kRows, 1, kPack>(values, v, p, out, dim);
    v += lanes;
    out += lanes;
  }
}

template <size_t kPack>
HWY_INLINE void AddPage(const PagePart& values, const float* p, size_t queries, float* out,
                        size_t dim) {
  for (; queries >= kTileRows; queries -= kTileRows) {
    ValueRows<kTileRows, kPack>(values, p, out, dim);
    p += kTileRows * kScoreStride;
    out += kTileRows * dim;
  }
  if (queries == 3) ValueRows<3, kPack>(values, p, out, dim);
  if (queries == 2) ValueRows<2, kPack>(values, p, out, dim);
  if (queries == 1) ValueRows<1, kPack>(values, p, out, dim);
}

template <size_t kPack>
void AddValues(const PageRun& values, const float* p, size_t key, size_t queries, float* out,
               size_t dim) {
  for (PagePart part(values); part.count > 0; part.Next()) {
    AddPage<kPack>(part, p + key + part.key, queries, out, dim);
  }
}

void LoadQuery(const float* q, size_t head_dim, float* out) {
  for (size_t i = 0; i < head_dim; ++i) out[i] = q[i];
}

void WeighInt8(float* p, size_t n, const float* scales, float* /*factor*/) {
  for (size_t i = 0; i < n; i += LanesF()) {
    hn::StoreU(hn::Mul(LoadF(p + i), LoadF(scales + i)), DF(), p + i);
  }
}

void FinishInt8(float /*factor*/, size_t head_dim, float* out) {
  for (size_t i = 0; i < head_dim; i += LanesF()) {
    hn::StoreU(hn::Mul(LoadF(out + i), hn::Set(DF(), 1.0f / kInt8PartScale)), DF(), out + i);
  }
}

constexpr PagedProducts kF32Products = {LoadQuery, ScoreKeys<1>, nullptr, AddValues<1>, nullptr};
constexpr PagedProducts kBF16Products = {LoadQuery, ScoreKeys<2>, nullptr, AddValues<2>, nullptr};
constexpr PagedProducts kInt8Products = {LoadQuery, ScoreKeys<4>, WeighInt8, AddValues<4>,
                                         FinishInt8};

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#endif
