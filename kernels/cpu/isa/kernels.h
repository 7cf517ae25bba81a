// Our own kernels as a table of function pointers, each compiled for several instruction sets from
// one source (Highway). A function does one work item on one thread; CpuBackend spreads the items.
//
// Owner: CpuBackend has one table. Thread rule: the functions are pure but for their outputs and
// the scratch memory that each thread has of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/math.h"
#include "kernels/cpu/isa/paged_products.h"
#include "kernels/grouping_ops.h"
#include "kernels/ops.h"

namespace precis {

struct Isa;  // kernels/cpu/isa/isa.h

// Query rows of one encoder work item, at most. Rows whose scores are held at a time. Keys of one
// chunk, as kPagedChunkKeys. Keys of all heads that one work item packs; a multiple of 32.
inline constexpr size_t kEncoderQueryRows = 128;
inline constexpr size_t kEncoderBlockRows = 32;
inline constexpr size_t kEncoderChunkKeys = 256;
inline constexpr size_t kEncoderPackedKeys = 32;
// Queries (rows times heads of a work item) that attend to a page at once, at most, unless one row
// has more: their scores then still fit into a core's L2 beside the chunk's keys.
inline constexpr size_t kPagedQueries = 32;

constexpr size_t PadToLanes(size_t n) { return CeilDiv(n, kMaxLanes) * kMaxLanes; }

// Floats of scratch that one thread needs.
size_t EncoderScratchFloats(size_t head_dim);
size_t PagedScratchFloats(size_t num_heads, size_t head_dim);
size_t NoiseScratchFloats(size_t head_dim);

// One head's share of one chunk of keys, not yet divided: [head_dim] values, their maximum score
// and their sum.
constexpr size_t PartialFloats(size_t head_dim) { return head_dim + 2; }

// What one thread appends: rows of params.slots, and KV heads of each.
struct AppendShare {
  size_t first_row;
  size_t end_row;
  size_t first_kv_head;
  size_t end_kv_head;
};

// One work item of paged attention: neighbouring rows that share a page table and, where rows have
// their own, the split of the query heads; neighbouring KV heads, whose keys lie side by side in a
// page; and a chunk of keys.
struct PagedTask {
  size_t first_row;
  size_t num_rows;
  size_t first_kv_head;
  size_t num_kv_heads;
  size_t chunk;
};

// Where rows of several chunks leave their partials. Row r has chunks first_chunk[r] ..
// first_chunk[r+1]-1 of all; each is [num_heads, PartialFloats].
struct PagedPartials {
  const uint32_t* first_chunk;
  float* data;
};

// An int8 GEMM multiplies rows of unsigned bytes, q + kInt8ZeroPoint each, because that is what
// VNNI multiplies signed ones with.
inline constexpr int32_t kInt8ZeroPoint = 128;

// What takes the sums of an int8 GEMM's columns back to floats.
struct Int8Columns {
  const float* scales;
  const int32_t* zero_point_sums;  // kInt8ZeroPoint times the sum of the column's weights
  const float* bias = nullptr;     // added to what they become; or null
};

// Columns of a panel of packed weights, and how a panel lies: [steps, columns, 4 bytes], where a
// step takes 4 bytes of a row: two values of bf16, four of int8.
inline constexpr size_t kGemmPanelColumns = 32;
inline constexpr size_t kGemmStepBytes = 4;

// Rows times the panels that a thread has. See kernels/cpu/gemm/panel_gemm.h.
struct PanelTask {
  const uint8_t* rows;  // [num_rows], `row_stride` bytes apart
  size_t row_stride;
  size_t num_rows;
  const uint8_t* panels;  // [num_panels], one after the other, 64-byte aligned
  size_t num_panels;
  size_t steps;
  const uint8_t* next;  // what is likely to be read after the panels, or null
  float* out;           // [num_rows], `out_stride` floats apart
  size_t out_stride;
  size_t num_columns;  // of `out` that the panels have; those of the last may be fewer
  bool accumulate;
  // Those of columns are padded to whole panels.
  const float* bias;  // or null: none
  // Of int8 only.
  const float* row_scales;
  const float* column_scales;
  const int32_t* starts;  // what a column's sum begins at: its zero_point_sum, negative
};

struct CpuKernels {
  // For pages of bf16 and of int8 whose slots fill their words; null where the ISA has none.
  const PagedProducts* paged_bf16 = nullptr;
  const PagedProducts* paged_int8 = nullptr;
  // Row `index` of params.out.
  void (*embed)(const EmbedParams& params, size_t index);
  // One row of x and, where it is not null, of `residual`; `index` is the row of `out`, whose data
  // may be null.
  void (*norm)(const float* x, const NormWeights& norm, const Activations& out, size_t index,
               float* residual);
  // One row; `index` is the row of `out`.
  void (*activate)(ActivationKind kind, bool gated, const float* in, const Activations& out,
                   size_t index);
  void (*append_kv)(const AppendKvParams& params, const AppendShare& share);
  // Rows [first, first + rows) of params.out for one head; rows <= kEncoderQueryRows.
  void (*encoder_attention)(const EncoderAttentionParams& params, size_t head, size_t first,
                            size_t rows, float* scratch);
  // Keys first .. first + kEncoderPackedKeys - 1 of params.packed, as encoder_attention_bf16 wants
  // them. Null where it reads params.k and params.v.
  void (*pack_encoder_keys)(const EncoderAttentionParams& params, size_t first);
  // encoder_attention for params.out of bf16; where the ISA multiplies bf16, q, k, v and the
  // probabilities are rounded to it as a GEMM's input is. scratch is aligned to 64 bytes.
  void (*encoder_attention_bf16)(const EncoderAttentionParams& params, size_t head, size_t first,
                                 size_t rows, float* scratch);
  // The result of a row of one chunk goes to params.out, that of others to their partials. Rows
  // that have no keys in the chunk are left alone. products: null, or those of the ISA for
  // params.region.
  void (*paged_attention)(const PagedAttentionParams& params, const PagedTask& task,
                          const PagedProducts* products, float* scratch,
                          const PagedPartials& partials);
  // Joins the partials of one row and head, `chunk_stride` floats apart, in the order of the
  // chunks; uses the first up. out_index: the element of `out` where the result begins.
  void (*merge_partials)(float* partials, size_t num_chunks, size_t chunk_stride, size_t head_dim,
                         const Activations& out, size_t out_index);
  // out = round(row * 127 / max|row|) + kInt8ZeroPoint of n values of f32 or bf16; returns the
  // scale, as kernels/int8_rows.h has it.
  float (*round_row)(const void* row, DType dtype, size_t n, uint8_t* out);
  // out = (sums - columns.zero_point_sums) * (row_scale * columns.scales) + columns.bias, or
  // out += ...
  void (*scale_sums)(const int32_t* sums, const Int8Columns& columns, float row_scale,
                     bool accumulate, size_t n, float* out);
  // Rows times panels, in bf16 and int8; null where the ISA has no products for it, or the GEMM
  // library is faster.
  void (*multiply_panels_bf16)(const PanelTask& task) = nullptr;
  void (*multiply_panels_int8)(const PanelTask& task) = nullptr;
  // Row `row` of params.out.
  void (*subtract_noise)(const SubtractNoiseParams& params, size_t row, float* scratch);
  // One row; `scores` has `count` columns, of which column 0 is `first_token`.
  void (*reduce_scores)(const float* scores, size_t count, int32_t first_token,
                        ScoreReduction* row);
};

// The best functions that `isa` allows.
CpuKernels SelectKernels(const Isa& isa);

// Each source file fills in its own.
void SelectRowKernels(int64_t hwy_targets, CpuKernels* table);
void SelectActivations(int64_t hwy_targets, CpuKernels* table);
void SelectScoreKernels(int64_t hwy_targets, CpuKernels* table);
void SelectAppendKv(int64_t hwy_targets, CpuKernels* table);
void SelectInt8Kernels(int64_t hwy_targets, CpuKernels* table);
void SelectEncoderAttention(int64_t hwy_targets, CpuKernels* table);
void SelectNoiseKernels(int64_t hwy_targets, CpuKernels* table);
void SelectPagedAttention(int64_t hwy_targets, CpuKernels* table);
// Replaces those for which the ISA has better ones; kernels/CMakeLists.txt picks the file.
void SelectIntrinsics(const Isa& isa, CpuKernels* table);

// x86 only: each in a source compiled for its instruction set. The keys are packed alike for both.
void PackEncoderKeysAvx512Bf16(const EncoderAttentionParams& params, size_t first);
void EncoderAttentionAvx512Bf16(const EncoderAttentionParams& params, size_t head, size_t first,
                                size_t rows, float* scratch);
void EncoderAttentionAmx(const EncoderAttentionParams& params, size_t head, size_t first,
                         size_t rows, float* scratch);
float RoundRowAvx512(const void* row, DType dtype, size_t n, uint8_t* out);
void MultiplyPanelsAvx512Bf16(const PanelTask& task);
void MultiplyPanelsAvx512Vnni(const PanelTask& task);

}  // namespace precis
