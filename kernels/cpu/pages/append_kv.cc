// Writes new keys and values into pages, whose words (KvRegion) hold neighbouring dimensions of a
// key and neighbouring slots of a dimension's values. Tokens of neighbouring slots, as the encoder
// and prefixes bring them, go together: a tile of keys is transposed on its way, and words of V are
// written whole. A token on its own is scattered; of a word of V it writes its own bytes only, for
// the others may be another thread's.
#include "kernels/cpu/isa/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pages/append_kv.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/isa/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

using VU = hn::Vec<DU>;

// Tokens that go together, at most, and words of each that a tile holds.
constexpr size_t kRunTokens = 16;
constexpr size_t kTileWords = 16;

// Tokens of neighbouring slots of one page: row `row` of the call and those after it.
struct AppendRun {
  size_t row;
  size_t count;
  size_t slot;
  std::byte* page;
};

// What one KV head of a run reads: K or V.
struct RunValues {
  const float* Row(size_t i) const { return values + i * stride; }
  const float* values;  // of the first token
  size_t stride;
  size_t head_dim;
  float factors[kRunTokens];  // of int8
};

HWY_INLINE VF LoadUpTo(const float* p, size_t count) {
  return count < LanesF() ? LoadPartial(p, count, 0.0f) : LoadF(p);
}

// A vector of a token's values as the page has them, each in a word. A factor of 0 gives zeros,
// whatever the values.
template <size_t kPack>
HWY_INLINE VU Encode(VF x, float factor) {
  if (kPack == 1) return hn::BitCast(DU(), x);
  if (kPack == 2) return RoundBF16(x);
  const auto rounded = hn::NearestInt(hn::Mul(x, hn::Set(DF(), factor)));
  return hn::BitCast(DU(), factor == 0.0f ? hn::Zero(DI()) : rounded);
}

// The low part of each word, side by side.
template <size_t kPack>
HWY_INLINE void StoreParts(VU words, std::byte* to) {
  if (kPack == 1) {
    hn::StoreU(words, DU(), reinterpret_cast<uint32_t*>(to));
  } else if (kPack == 2) {
    hn::StoreU(hn::DemoteTo(DH(), hn::BitCast(DI(), words)), DH(), reinterpret_cast<uint16_t*>(to));
  } else {
    const hn::Rebind<int8_t, DF> d8;
    hn::StoreU(hn::DemoteTo(d8, hn::BitCast(DI(), words)), d8, reinterpret_cast<int8_t*>(to));
  }
}

// Words of up to kTileWords * kPack dimensions of a key; what comes after them is zero.
template <size_t kPack>
HWY_INLINE void EncodeKey(const float* key, size_t dims, float factor, uint32_t* words) {
  auto* to = reinterpret_cast<std::byte*>(words);
  for (size_t i = 0; i < kTileWords * kPack; i += LanesF()) {
    const VF x = i < dims ? LoadUpTo(key + i, dims - i) : hn::Zero(DF());
    StoreParts<kPack>(Encode<kPack>(x, factor), to + i * (kKvWordBytes / kPack));
  }
}

// to[word * slots + token] of a tile.
HWY_INLINE void ScatterTile(const uint32_t* tile, size_t tokens, size_t words, uint32_t* to,
                            size_t slots) {
  size_t i = 0;
  for (; i + 4 <= tokens; i += 4) {
    const uint32_t* from = tile + i * kTileWords;
    size_t word = 0;
    for (; word + 4 <= words; word += 4) {
      Transpose4x4(from + word, kTileWords, to + word * slots + i, slots);
    }
    for (; word < words; ++word) {
      for (size_t j = 0; j < 4; ++j) to[word * slots + i + j] = from[j * kTileWords + word];
    }
  }
  for (; i < tokens; ++i) {
    for (size_t word = 0; word < words; ++word) to[word * slots + i] = tile[i * kTileWords + word];
  }
}

// k: the words of the head, from the run's first slot on.
template <size_t kPack>
HWY_INLINE void AppendKeys(const RunValues& keys, size_t count, uint32_t* k, size_t slots) {
  HWY_ALIGN uint32_t tile[kRunTokens * kTileWords];
  for (size_t dim = 0; dim < keys.head_dim; dim += kTileWords * kPack) {
    const size_t left = keys.head_dim - dim;
    const size_t dims = left < kTileWords * kPack ? left : kTileWords * kPack;
    for (size_t i = 0; i < count; ++i) {
      EncodeKey<kPack>(keys.Row(i) + dim, dims, keys.factors[i], tile + i * kTileWords);
    }
    ScatterTile(tile, count, (dims + kPack - 1) / kPack, k + dim / kPack * slots, slots);
  }
}

// Whole words of V: kPack tokens from token `first` of the run on.
template <size_t kPack>
HWY_INLINE void AppendWholeWords(const RunValues& values, size_t first, uint32_t* v) {
  for (size_t i = 0; i < values.head_dim; i += LanesF()) {
    const size_t left = values.head_dim - i;
    VU words = hn::Zero(DU());
    for (size_t j = 0; j < kPack; ++j) {
      const VF x = LoadUpTo(values.Row(first + j) + i, left);
      VU part = Encode<kPack>(x, values.factors[first + j]);
      if (kPack == 4) part = hn::And(part, hn::Set(DU(), 0xffu));
      if (kPack == 2 && j == 1) part = hn::ShiftLeft<16>(part);
      if (kPack == 4 && j == 1) part = hn::ShiftLeft<8>(part);
      if (kPack == 4 && j == 2) part = hn::ShiftLeft<16>(part);
      if (kPack == 4 && j == 3) part = hn::ShiftLeft<24>(part);
      words = hn::Or(words, part);
    }
    StoreActivation(hn::BitCast(DF(), words), v, DType::kF32, i, left < LanesF() ? left : LanesF());
  }
}

// Part `part` of the words at `to`, from the low parts of `from`. No other byte is written.
template <typename Part>
HWY_INLINE void StorePart(VU from, size_t part, uint32_t* to) {
  const hn::Repartition<Part, DU> d;
  constexpr size_t kPack = kKvWordBytes / sizeof(Part);
  const auto index = hn::And(hn::Iota(d, 0), hn::Set(d, static_cast<Part>(kPack - 1)));
  const auto mask = hn::Eq(index, hn::Set(d, static_cast<Part>(part)));
  const auto moved = hn::ShiftLeftSame(from, static_cast<int>(part * sizeof(Part) * 8));
  hn::BlendedStore(hn::BitCast(d, moved), mask, d, reinterpret_cast<Part*>(to));
}

// One token's part `part` of its words of V. Part: the type of a value, unsigned.
template <typename Part>
HWY_INLINE void AppendParts(const RunValues& values, size_t token, size_t part, uint32_t* words) {
  constexpr size_t kPack = kKvWordBytes / sizeof(Part);
  HWY_ALIGN Part parts[kMaxLanes];
  Part* v = reinterpret_cast<Part*>(words) + part;
  for (size_t i = 0; i < values.head_dim; i += LanesF()) {
    const size_t left = values.head_dim - i;
    const VF x = LoadUpTo(values.Row(token) + i, left);
    const VU encoded = Encode<kPack>(x, values.factors[token]);
#if HWY_TARGET == HWY_AVX3
    if (left >= LanesF()) {
      StorePart<Part>(encoded, part, words + i);
      continue;
    }
#endif
    StoreParts<kPack>(encoded, reinterpret_cast<std::byte*>(parts));
    const size_t count = left < LanesF() ? left : LanesF();
    for (size_t j = 0; j < count; ++j) v[(i + j) * kPack] = parts[j];
  }
}

// v: the words of the head, from slot 0 on.
template <typename Part>
HWY_INLINE void AppendValues(const RunValues& values, size_t count, size_t slot, uint32_t* v) {
  constexpr size_t kPack = kKvWordBytes / sizeof(Part);
  for (size_t i = 0; i < count;) {
    const size_t part = (slot + i) % kPack;
    uint32_t* word = v + (slot + i) / kPack * values.head_dim;
    if (part == 0 && i + kPack <= count) {
      AppendWholeWords<kPack>(values, i, word);
      i += kPack;
    } else {
      AppendParts<Part>(values, i, part, word);
      ++i;
    }
  }
}

// Finds the factors of int8 and writes the scales; scales: those of the head.
HWY_INLINE void FindFactors(const AppendRun& run, float* scales, RunValues* values) {
  for (size_t i = 0; i < run.count; ++i) {
    values->factors[i] = Int8Factor(values->Row(i), values->head_dim, scales + run.slot + i);
  }
}

template <typename Part>
HWY_INLINE void AppendRunOf(const AppendKvParams& p, const AppendRun& run, const AppendShare& of) {
  constexpr size_t kPack = kKvWordBytes / sizeof(Part);
  const KvRegion& r = p.region;
  const size_t k_bytes = (r.head_dim + kPack - 1) / kPack * r.slots * kKvWordBytes;
  const size_t v_bytes = (r.slots + kPack - 1) / kPack * r.head_dim * kKvWordBytes;
  for (size_t g = of.first_kv_head; g < of.end_kv_head; ++g) {
    const size_t from = run.row * p.row_stride + g * r.head_dim;
    RunValues keys{p.k + from, p.row_stride, r.head_dim, {}};
    RunValues values{p.v + from, p.row_stride, r.head_dim, {}};
    if (kPack == 4) {
      const size_t scales = g * r.slots * sizeof(float);
      FindFactors(run, reinterpret_cast<float*>(run.page + r.k_scale_offset + scales), &keys);
      FindFactors(run, reinterpret_cast<float*>(run.page + r.v_scale_offset + scales), &values);
    }
    auto* k = reinterpret_cast<uint32_t*>(run.page + r.k_offset + g * k_bytes);
    AppendKeys<kPack>(keys, run.count, k + run.slot, r.slots);
    auto* v = reinterpret_cast<uint32_t*>(run.page + r.v_offset + g * v_bytes);
    AppendValues<Part>(values, run.count, run.slot, v);
  }
}

HWY_INLINE AppendRun RunAt(const AppendKvParams& p, size_t row, size_t end) {
  const SlotRef& first = p.slots[row];
  size_t count = 1;
  while (count < kRunTokens && row + count < end && p.slots[row + count].page == first.page &&
         p.slots[row + count].slot == first.slot + count) {
    ++count;
  }
  return {row, count, first.slot,
          p.pool.base + static_cast<size_t>(first.page) * p.pool.page_bytes};
}

void AppendKv(const AppendKvParams& params, const AppendShare& share) {
  for (size_t row = share.first_row; row < share.end_row;) {
    const AppendRun run = RunAt(params, row, share.end_row);
    if (params.region.dtype == DType::kI8) {
      AppendRunOf<uint8_t>(params, run, share);
    } else if (params.region.dtype == DType::kBF16) {
      AppendRunOf<uint16_t>(params, run, share);
    } else {
      AppendRunOf<uint32_t>(params, run, share);
    }
    row += run.count;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"

namespace precis {

HWY_EXPORT(AppendKv);

void SelectAppendKv(int64_t hwy_targets, CpuKernels* table) {
  table->append_kv = PickTarget(HWY_DISPATCH_TABLE(AppendKv), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
