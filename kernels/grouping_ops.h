// The ops that only some attention variants need: query heads assigned to KV heads by the norms of
// keys (KDGQA, DGQA), and noise that is subtracted from what attention gives (PGQA). Formulas:
// docs/design/attention_variants.md.
//
// Owner: the backend (Backend::grouping_ops()). Units and thread rule: as the ops of kernels/ops.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/op_observer.h"
#include "kernels/ops.h"

namespace precis {

// The last key of each row: what its slot keeps is what the slot before it keeps, plus the squares
// of this key, one KV head apart from the other. Taken from f32, whatever the pages hold.
struct SumKeySquaresParams {
  const float* k;                  // [rows, num_kv_heads * head_dim], row_stride apart
  size_t row_stride;               // floats
  std::span<const PagedRow> rows;  // none before the row of the key before its own
  std::span<const int32_t> pages;
  KvPool pool;
  KvRegion region;  // keeps key squares
};

// What a KV head's share of the query heads is proportional to; n is the norm of a row's keys.
enum class HeadShares : uint8_t {
  kScaledNorm,      // KDGQA: (n - least n) / (largest n - least n)
  kNormDifference,  // DGQA: |n - cached norm|
  kNormAverage,     // DGQA: 0.9 n + 0.1 cached norm
};

// Assigns the query heads of each row to its KV heads.
struct AssignHeadsParams {
  std::span<const PagedRow> rows;
  std::span<const int32_t> pages;
  KvPool pool;
  KvRegion region;  // keeps key squares
  HeadShares shares;
  std::span<const float> cached_norms;  // [num_kv_heads], on the device; of kScaledNorm none
  uint32_t num_heads;
  // [rows, num_kv_heads + 1]: KV head g of row i serves query heads begin[g] .. begin[g + 1] - 1 of
  // row i's share. On the device.
  std::span<uint32_t> begin;
};

struct NoiseRow {
  uint64_t seed;
  uint32_t position;
};

// Of each row and head, out = x - (z * std(x) + mean(x)), z being noise of mean 0 and deviation 1.
struct SubtractNoiseParams {
  const float* x;  // [rows, num_heads * head_dim]
  std::span<const NoiseRow> rows;
  uint32_t layer;
  uint32_t kind;  // 0 self-attention, 1 cross-attention
  uint32_t num_heads;
  uint32_t head_dim;
  uint32_t group_size;  // the noise of a head is 0 at its place in its group
  Activations out;
};

class GroupingOps : private ObservedOps {
 public:
  virtual ~GroupingOps() = default;

  void SumKeySquares(const SumKeySquaresParams& p) {
    Observe(p, [&] { DoSumKeySquares(p); });
  }
  void AssignHeads(const AssignHeadsParams& p) {
    Observe(p, [&] { DoAssignHeads(p); });
  }
  void SubtractNoise(const SubtractNoiseParams& p) {
    Observe(p, [&] { DoSubtractNoise(p); });
  }

 protected:
  virtual void DoSumKeySquares(const SumKeySquaresParams& p) = 0;
  virtual void DoAssignHeads(const AssignHeadsParams& p) = 0;
  virtual void DoSubtractNoise(const SubtractNoiseParams& p) = 0;

 private:
  friend class Backend;  // which sets the observer of all its ops
};

}  // namespace precis
