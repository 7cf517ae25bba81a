// The ops: what each is asked (pointers, shapes, numbers), and the calls. An op is one struct of
// parameters, one function of Ops that the observer sees, and one virtual that a device
// implements. All matrices are row-major and dense unless a stride is given; strides and offsets of
// floats count elements, those of pages count bytes.
//
// Matrices, tables and pages lie in device memory (kernels/device_memory.h). What says where things
// are is the host's and read before a call returns: ids, slots, rows, page tables, copies, head
// groups (which never change once they were used).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "kernels/dtype.h"
#include "kernels/op_observer.h"
#include "kernels/row_kinds.h"

namespace precis {

class PackedMatrix;  // kernels/backend.h

// Activations that feed a GEMM: f32 or bf16, as the backend asked (Backend::activation_dtype).
struct Activations {
  void* data;  // [rows, cols]
  DType dtype;
  size_t rows;
  size_t cols;
};

// out[i] = scale * table[ids[i]] + position_table[positions[i]].
struct EmbedParams {
  std::span<const int32_t> ids;
  const void* table;  // [vocab, d]
  DType table_dtype;  // f32 or bf16
  size_t d;
  float* out;  // [ids.size(), d]
  float scale = 1.0f;
  const float* position_table = nullptr;  // [?, d]; null: none is added
  std::span<const uint32_t> positions =
      {};  // [ids.size()] rows of position_table, where there is one
};

// Over rows: kRms is x / sqrt(mean(x^2) + eps) * gain (Zhang and Sennrich 2019), kLayer is
// (x - mean(x)) / sqrt(variance(x) + eps) * gain + shift with the variance of all values (Ba et al.
// 2016).
struct NormWeights {
  NormKind kind;
  const float* gain;   // [cols]
  const float* shift;  // [cols], of kLayer; null of kRms
  float eps;
};

struct NormParams {
  const float* x;  // [out.rows, out.cols]
  NormWeights norm;
  Activations out;            // its data may be null: then `residual` alone is written
  float* residual = nullptr;  // the same rows as f32, or null; may be x
};

// out = in * w^T + bias of w, or out += ... when `accumulate`.
struct GemmParams {
  Activations in;         // [rows, k]
  const PackedMatrix& w;  // [n, k]
  bool accumulate;
  float* out;  // [rows, n]
};

// out = activation(in), or activation(gate) * up where rows are [gate d_ff | up d_ff].
struct ActivateParams {
  ActivationKind kind;
  bool gated;
  const float* in;  // [rows, d_ff], or [rows, 2 * d_ff] where it is gated
  Activations out;  // [rows, d_ff]
};

// A GEMM of what a norm or an activation makes, with the bits of one after the other. What `rows`
// holds afterwards is the backend's affair: threads may make rows where they need them, so `out`
// lies apart from what they are made of.
struct GemmOfNormParams {
  const float* x;    // as NormParams
  NormWeights norm;  // as NormParams
  Activations rows;  // [rows, k]
  const PackedMatrix& w;
  float* out;  // [rows, n]
};
struct GemmOfActivatedParams {
  ActivationKind kind;
  bool gated;
  const float* in;   // as ActivateParams
  Activations rows;  // [rows, k]
  const PackedMatrix& w;
  float* out;  // [rows, n], added to
};

inline constexpr size_t kKvWordBytes = 4;

// Where one decoder layer's K and V lie inside every page of one kind (self or cross).
// Values that are summed up lie side by side in words of four bytes, `pack` of them: one of f32,
// two of bf16, four of int8. One load then brings a vector of words, as products of pairs and of
// quads want them and as f32 is taken out of them by shifts.
//   K: [num_kv_heads, ceil(head_dim / pack), slots, pack]: a vector holds the same dimensions of
//      many keys, and scores need no horizontal sum. Dimensions past head_dim are zeros.
//   V: [num_kv_heads, ceil(slots / pack), head_dim, pack]: who reads a word of which not all slots
//      are filled must not use the others.
// In int8 an element stands for itself times the scale of its head and slot, K and V apart.
struct KvRegion {
  size_t k_offset = 0;  // bytes from the start of the page, a multiple of 64
  size_t v_offset = 0;  // bytes from the start of the page, a multiple of 64
  uint32_t slots = 0;   // per page
  uint32_t num_kv_heads = 0;
  uint32_t head_dim = 0;
  DType dtype = DType::kF32;
  // Of int8 only: [num_kv_heads, slots] floats each; bytes from the start of the page, multiples of
  // 64.
  size_t k_scale_offset = 0;
  size_t v_scale_offset = 0;
  // Of some groupings (kernels/grouping_ops.h): [slots, num_kv_heads] floats, the squares of the
  // sequence's keys up to a slot's own, summed up. As the offsets above.
  bool keeps_key_squares = false;
  size_t key_squares_offset = 0;

  constexpr size_t pack() const { return kKvWordBytes / ElementBytes(dtype); }
  // Words of a token's K of one head, and of a head's slots in V.
  constexpr size_t dim_words() const { return (head_dim + pack() - 1) / pack(); }
  constexpr size_t slot_words() const { return (slots + pack() - 1) / pack(); }
  // Bytes of one head's K and V in a page.
  constexpr size_t k_head_bytes() const { return dim_words() * slots * kKvWordBytes; }
  constexpr size_t v_head_bytes() const { return slot_words() * head_dim * kKvWordBytes; }
  // Elements from the start of K and V.
  constexpr size_t KIndex(size_t kv_head, size_t slot, size_t dim) const {
    const size_t word = (kv_head * dim_words() + dim / pack()) * slots + slot;
    return word * pack() + dim % pack();
  }
  constexpr size_t VIndex(size_t kv_head, size_t slot, size_t dim) const {
    const size_t word = (kv_head * slot_words() + slot / pack()) * head_dim + dim;
    return word * pack() + slot % pack();
  }
};

// The bytes behind all pages. Readable for 64 bytes past the last page: vectors may overhang.
struct KvPool {
  std::byte* base = nullptr;  // 64-byte aligned
  size_t page_bytes = 0;      // a multiple of 64
};

inline constexpr float kLeastInt8Peak = 1e-30f;

struct SlotRef {
  int32_t page;
  uint32_t slot;
};

struct PageCopyRef {
  int32_t from;
  int32_t to;
  uint32_t slots;  // the first `slots` slots are copied
};

// Copies filled slots of whole pages, all layers: copy-on-write of self pages.
struct CopySlotsParams {
  std::span<const PageCopyRef> copies;  // no target is a source or a target of another
  KvPool pool;
  std::span<const KvRegion> layers;
};

// In int8 the scale is the largest magnitude / 127 and values are rounded to nearest, ties to even.
// What is not finite makes the scale NaN; a head whose magnitudes stay below kLeastInt8Peak is
// zero.
struct AppendKvParams {
  const float* k;                  // [rows, num_kv_heads * head_dim], row_stride apart
  const float* v;                  // as k
  size_t row_stride;               // floats
  std::span<const SlotRef> slots;  // one a row; no two equal
  KvPool pool;
  KvRegion region;
};

// Neighbouring rows that begin at the same page share a page table, which holds the keys of the
// longest of them: a backend may read a page once for all of them (drafts of one sequence; beams
// and drafts over the source).
struct PagedRow {
  uint32_t first_page;  // index into the call's pages
  uint32_t num_keys;    // keys 0 .. num_keys-1; at least 1
  uint32_t position;    // of the query, for the bias
};

// Which query heads read which KV head: group g is heads[begin[g] .. begin[g+1]).
struct HeadGroups {
  std::span<const uint32_t> heads;  // [num_heads], a permutation
  std::span<const uint32_t> begin;  // [num_kv_heads + 1]; a group may be empty
};

// bias[h * stride + zero + (key position - query position)]; data == nullptr means none.
struct PositionBias {
  const float* data = nullptr;
  size_t stride = 0;
  size_t zero = 0;
};

// softmax(q K^T + bias) V over the pages of each row. Scores are not scaled by 1/sqrt(d).
// Keys are reduced in an order that depends on their absolute positions only, so that a row's bits
// do not depend on the other rows, nor on whether it shares its table with them.
struct PagedAttentionParams {
  // What is appended first, as if on its own, or null. Of these rows it then is near when it is
  // read.
  const AppendKvParams* append = nullptr;
  const float* q;   // [rows, num_heads * head_dim], q_stride apart
  size_t q_stride;  // floats
  std::span<const PagedRow> rows;
  std::span<const int32_t> pages;  // page tables, one behind the other
  KvPool pool;
  KvRegion region;
  HeadGroups groups;
  PositionBias bias;
  Activations out;  // [rows, num_heads * head_dim]
  // Where rows differ in their groups (kernels/grouping_ops.h): [rows, num_kv_heads + 1], which
  // takes the place of groups.begin, and groups.heads is 0, 1, 2, ... On the device. Empty: all
  // rows are as `groups` says.
  std::span<const uint32_t> assigned = {};
};

// Row i of `groups`.
inline HeadGroups GroupsOf(const PagedAttentionParams& p, size_t row) {
  if (p.assigned.empty()) return p.groups;
  const size_t width = p.region.num_kv_heads + size_t{1};
  return {p.groups.heads, p.assigned.subspan(row * width, width)};
}

// Self-attention of one document, all heads, for query rows begin .. begin+out.rows-1 against all
// `num_keys` keys. Score matrices are never materialised as a whole.
struct EncoderAttentionParams {
  const float* q;  // [num_keys, num_heads * head_dim], row_stride apart; row 0 is position 0
  const float* k;
  const float* v;
  size_t row_stride;  // floats
  uint32_t num_keys;
  uint32_t num_heads;
  uint32_t head_dim;
  uint32_t begin;  // first query row
  PositionBias bias;
  Activations out;  // [query rows, num_heads * head_dim]
  // What a backend makes of k and v, EncoderPackedBytes() of any alignment; needed where `out` is
  // bf16.
  std::byte* packed = nullptr;
  bool is_packed = false;  // an earlier call has filled it from the same k and v
};

// Enough for k and v in bf16, keys and dimensions padded to 32, and for aligning them.
constexpr size_t EncoderPackedBytes(size_t num_keys, size_t num_heads, size_t head_dim) {
  const auto padded = [](size_t n) { return (n + 31) / 32 * 32; };
  return 2 * num_heads * padded(num_keys) * padded(head_dim) * sizeof(uint16_t) + 63;
}

struct TokenScore {
  float score;
  int32_t token;
};

// What one row asks of a vocabulary's scores, and its answer so far: the scores come in panels of
// neighbouring tokens, in ascending order.
struct ScoreReduction {
  std::span<TokenScore> best;  // room for as many as are wanted, at least one
  size_t num_best = 0;     // of best: descending, lower tokens first among equals; no -inf, no NaN
  bool wants_sum = false;  // whether max and sum are kept; but for NaN, which counts in any row
  float max = -std::numeric_limits<float>::infinity();  // of all scores; NaN once one of them is
  double sum = 0;                                       // of exp(score - max)
};

// Where in the scores of a whole step one stands.
struct ScorePlace {
  uint32_t row;
  int32_t token;
  uint32_t value;  // which of the values it becomes
};

// What the three ops on scores give to the host is there after Backend::Wait(), and may not be
// touched until then.

// Scores that a panel's reduction must not see: each is given to the host and made -inf.
struct ExtractScoresParams {
  float* scores;  // [rows, count]
  size_t count;
  int32_t first_token;                 // of column 0
  std::span<const ScorePlace> places;  // of this panel; no two equal
  float* values;                       // the host's
};

// Copies the panel's scores of some rows to the host.
struct KeepScoresParams {
  const float* scores;  // [rows, count]
  size_t count;
  int32_t first_token;
  std::span<const uint32_t> rows;
  size_t vocab_size;
  float* out;  // [rows of the step, vocab_size], the host's
};

// Takes one panel more into the reductions of the rows. A row's bits do not depend on the others.
struct ReduceScoresParams {
  const float* scores;  // [rows, count]
  size_t count;
  int32_t first_token;             // of column 0
  std::span<ScoreReduction> rows;  // the host's
};

// The calls of a device's ops, and what a device implements of them. The observer does not see
// an op that another one includes: the norm of GemmOfNorm, what attention appends.
class Ops : protected ObservedOps {
 public:
  void Embed(const EmbedParams& p) {
    Observe(p, [&] { DoEmbed(p); });
  }
  void Norm(const NormParams& p) {
    Observe(p, [&] { DoNorm(p); });
  }
  void Gemm(const GemmParams& p) {
    Observe(p, [&] { DoGemm(p); });
  }
  void Activate(const ActivateParams& p) {
    Observe(p, [&] { DoActivate(p); });
  }
  void GemmOfNorm(const GemmOfNormParams& p) {
    Observe(p, [&] { DoGemmOfNorm(p); });
  }
  void GemmOfActivated(const GemmOfActivatedParams& p) {
    Observe(p, [&] { DoGemmOfActivated(p); });
  }
  void EncoderAttention(const EncoderAttentionParams& p) {
    Observe(p, [&] { DoEncoderAttention(p); });
  }
  void AppendKv(const AppendKvParams& p) {
    Observe(p, [&] { DoAppendKv(p); });
  }
  void PagedAttention(const PagedAttentionParams& p) {
    Observe(p, [&] { DoPagedAttention(p); });
  }
  void CopySlots(const CopySlotsParams& p) {
    Observe(p, [&] { DoCopySlots(p); });
  }
  void ExtractScores(const ExtractScoresParams& p) {
    Observe(p, [&] { DoExtractScores(p); });
  }
  void KeepScores(const KeepScoresParams& p) {
    Observe(p, [&] { DoKeepScores(p); });
  }
  void ReduceScores(const ReduceScoresParams& p) {
    Observe(p, [&] { DoReduceScores(p); });
  }

 protected:
  ~Ops() = default;

  virtual void DoEmbed(const EmbedParams& p) = 0;
  virtual void DoNorm(const NormParams& p) = 0;
  virtual void DoGemm(const GemmParams& p) = 0;
  virtual void DoActivate(const ActivateParams& p) = 0;
  virtual void DoGemmOfNorm(const GemmOfNormParams& p) {
    DoNorm({p.x, p.norm, p.rows});
    DoGemm({p.rows, p.w, false, p.out});
  }
  virtual void DoGemmOfActivated(const GemmOfActivatedParams& p) {
    DoActivate({p.kind, p.gated, p.in, p.rows});
    DoGemm({p.rows, p.w, true, p.out});
  }
  virtual void DoEncoderAttention(const EncoderAttentionParams& p) = 0;
  virtual void DoAppendKv(const AppendKvParams& p) = 0;
  virtual void DoPagedAttention(const PagedAttentionParams& p) = 0;
  virtual void DoCopySlots(const CopySlotsParams& p) = 0;
  virtual void DoExtractScores(const ExtractScoresParams& p) = 0;
  virtual void DoKeepScores(const KeepScoresParams& p) = 0;
  virtual void DoReduceScores(const ReduceScoresParams& p) = 0;
};

}  // namespace precis
