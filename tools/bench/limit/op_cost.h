// What an op costs at least, by its shapes alone: arithmetic, and bytes that must move. The table
// of docs/performance/limit.md as code. Thread rule: pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/backend.h"

namespace precis {

enum class OpKind : uint8_t {
  kEmbed,
  kNorm,
  kGemm,
  kActivate,
  kEncoderAttention,
  kAppendKv,
  kSelfAttention,   // paged, with a position bias
  kCrossAttention,  // paged, without
  kCopySlots,
  kSummarizeScores,
  kSumKeySquares,
  kDealHeads,
  kSubtractNoise,
};

struct OpCost {
  OpKind kind = OpKind::kEmbed;
  DType dtype = DType::kF32;  // of the arithmetic
  uint32_t n = 0;             // kGemm: of the matrix [n, k]
  uint32_t k = 0;
  uint64_t rows = 0;            // M: rows that share what is read
  uint64_t flops = 0;           // multiplications and additions of matrix products; else 0
  uint64_t streamed_bytes = 0;  // weights, KV, rows of the embedding
  uint64_t local_bytes = 0;     // activations, read and written
  uint32_t regions = 0;         // parallel regions, at least
  auto operator<=>(const OpCost&) const = default;

  uint64_t bytes() const { return streamed_bytes + local_bytes; }
};

// "gemm 512x2048": k x n.
std::string OpName(const OpCost& cost);

OpCost EmbedCost(size_t ids, DType table, size_t d);
OpCost NormCost(const Activations& out);
OpCost GemmCost(const Activations& in, const PackedMatrix& w, bool accumulate);
// Of a GEMM the rows of which are made on the way: they are neither written nor read.
OpCost GemmOfCost(const OpCost& making, const Activations& rows, const PackedMatrix& w,
                  bool accumulate);
OpCost ActivateCost(ActivationKind kind, const Activations& out);
OpCost EncoderAttentionCost(const EncoderAttentionParams& params);
OpCost AppendKvCost(const AppendKvParams& params);
OpCost PagedAttentionCost(const PagedAttentionParams& params);
OpCost CopySlotsCost(const CopySlotsParams& params);
OpCost SumKeySquaresCost(const SumKeySquaresParams& params);
OpCost DealHeadsCost(const DealHeadsParams& params);
OpCost SubtractNoiseCost(const SubtractNoiseParams& params);
OpCost SummarizeScoresCost(const SummarizeScoresParams& params);

}  // namespace precis
