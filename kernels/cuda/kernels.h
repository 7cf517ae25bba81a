// Launches of the CUDA kernels. They have the parameters of the ops (kernels/ops.h,
// kernels/grouping_ops.h), but all memory, that behind spans too, is the device's; nothing is
// copied, allocated or waited for.
//
// Called by the CUDA backend. Thread rule: the thread that has the stream. What can go wrong in a
// launch is the stream's, and seen when it is asked.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/grouping_ops.h"
#include "kernels/ops.h"

namespace precis::cuda {

// Keys are reduced in chunks of absolute positions, merged in their order: as many as on the CPU.
inline constexpr size_t kPagedChunkKeys = 512;
// The largest heads that attention takes; CudaBackend refuses models of larger ones.
inline constexpr size_t kMostHeadDim = 128;

void Embed(const EmbedParams& p, cudaStream_t stream);
void Norm(const NormParams& p, cudaStream_t stream);
void Activate(const ActivateParams& p, cudaStream_t stream);
// out[rows, n] += bias[n].
void AddBias(const float* bias, size_t rows, size_t n, float* out, cudaStream_t stream);

void AppendKv(const AppendKvParams& p, cudaStream_t stream);
void CopySlots(const CopySlotsParams& p, cudaStream_t stream);

// A work item of paged attention: rows that share a page table, and a chunk of their keys. A block
// does it for one KV head.
struct PagedItem {
  uint32_t first_row;
  uint32_t num_rows;
  uint32_t chunk;
};

// What a step's calls of paged attention have in common, made once from its rows.
struct PagedPlan {
  std::vector<PagedItem> items;
  std::vector<uint32_t> first_chunk;  // [rows + 1]: row r has partials first_chunk[r] .. of all
  bool merges = false;                // whether a row has several chunks
};
// `rows` lie in the host's memory. Uses the plan's room again.
void PlanPagedAttention(std::span<const PagedRow> rows, PagedPlan* plan);

// A plan on the device. partials: [first_chunk.back(), num_heads, PartialFloats(head_dim)].
struct PagedWork {
  const PagedItem* items;
  size_t num_items;
  const uint32_t* first_chunk;
  float* partials;
  bool merges;
  uint32_t most_queries;  // of an item and KV head: rows times heads of a group
};
constexpr size_t PartialFloats(size_t head_dim) { return head_dim + 2; }
// p.append is not its affair: that is a launch of AppendKv() before.
void PagedAttention(const PagedAttentionParams& p, const PagedWork& work, cudaStream_t stream);
// Rows of several chunks; PagedAttention() calls it where there are any.
void MergePartials(const PagedWork& work, uint32_t num_heads, uint32_t head_dim,
                   const Activations& out, cudaStream_t stream);

void EncoderAttention(const EncoderAttentionParams& p, cudaStream_t stream);
// The one for `out` of bf16, which EncoderAttention() calls.
void EncoderAttentionBF16(const EncoderAttentionParams& p, cudaStream_t stream);

void SumKeySquares(const SumKeySquaresParams& p, cudaStream_t stream);
void AssignHeads(const AssignHeadsParams& p, cudaStream_t stream);
void SubtractNoise(const SubtractNoiseParams& p, cudaStream_t stream);

// Of a row: what a block has shared memory for. A request has 2 x num_beams at most, of 16 beams.
inline constexpr size_t kMostBest = 1024;
// most_best: the most that a row's `best` has room for, up to kMostBest.
void ReduceScores(const ReduceScoresParams& p, size_t most_best, cudaStream_t stream);

// taken: [places], kept: [rows, count], on the device; p.values and p.out are not read.
void ExtractScores(const ExtractScoresParams& p, float* taken, cudaStream_t stream);
void KeepScores(const KeepScoresParams& p, float* kept, cudaStream_t stream);

}  // namespace precis::cuda
