// What an op costs at least, by its shapes alone: arithmetic, and bytes that must move. The table
// of docs/performance/limit.md as code. Thread rule: pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
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
  kReduceScores,
  kSumKeySquares,
  kAssignHeads,
  kSubtractNoise,
};

struct OpCost {
  OpKind kind = OpKind::kEmbed;
  DType dtype = DType::kF32;  // of the arithmetic
  uint32_t n = 0;             // kGemm: of the matrix [n, k]
  uint32_t k = 0;
  uint64_t rows = 0;            // M: rows that share what is read
  uint64_t flops = 0;           // multiplications and additions of matrix products; else 0
  uint64_t streamed_bytes = 0;  // weights with their biases, KV, rows of embeddings
  uint64_t local_bytes = 0;     // activations, read and written
  uint32_t regions = 0;         // parallel regions, at least
  auto operator<=>(const OpCost&) const = default;

  uint64_t bytes() const { return streamed_bytes + local_bytes; }
};

// "gemm 512x2048": k x n.
std::string OpName(const OpCost& cost);

// Nullopt for an op that is not counted: one that copies a few scores to the host.
std::optional<OpCost> CostOf(const OpCall& op);

// The matrix that the op reads, or null.
const PackedMatrix* MatrixOf(const OpCall& op);

}  // namespace precis
