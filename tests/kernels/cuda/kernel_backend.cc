#include "tests/kernels/cuda/kernel_backend.h"

#include <algorithm>
#include <cmath>

namespace precis {
namespace {

// Of an item and KV head, the most.
uint32_t MostQueries(const PagedAttentionParams& p, const cuda::PagedPlan& plan) {
  uint32_t most = 0;
  for (const cuda::PagedItem& item : plan.items) {
    for (uint32_t g = 0; g < p.region.num_kv_heads; ++g) {
      uint32_t queries = 0;
      for (uint32_t row = item.first_row; row < item.first_row + item.num_rows; ++row) {
        const HeadGroups groups = GroupsOf(p, row);
        queries += groups.begin[g + 1] - groups.begin[g];
      }
      most = std::max(most, queries);
    }
  }
  return most;
}

// Elements of `rows` rows of `width`, `stride` apart.
size_t Strided(size_t rows, size_t stride, size_t width) {
  return rows == 0 ? 0 : (rows - 1) * stride + width;
}

Activations Write(KernelMemory* memory, const Activations& out) {
  auto* bytes = static_cast<std::byte*>(out.data);
  const size_t count = out.rows * out.cols * ElementBytes(out.dtype);
  return {memory->Write(bytes, count), out.dtype, out.rows, out.cols};
}

// All pages up to the last that is named.
KvPool Pages(KernelMemory* memory, const KvPool& pool, size_t last, bool writes) {
  const size_t bytes = (last + 1) * pool.page_bytes;
  // What is only read is writable to whom it belongs.
  auto* base = writes ? memory->Write(pool.base, bytes)
                      : const_cast<std::byte*>(memory->Read<std::byte>(pool.base, bytes));
  return {base, pool.page_bytes};
}

KvPool Pages(KernelMemory* memory, const KvPool& pool, std::span<const int32_t> pages,
             bool writes) {
  return Pages(memory, pool, static_cast<size_t>(std::ranges::max(pages)), writes);
}

PositionBias Read(KernelMemory* memory, const PositionBias& bias, size_t heads, size_t after) {
  if (bias.data == nullptr) return bias;
  const size_t count = Strided(heads, bias.stride, bias.zero + after);
  return {memory->Read(bias.data, count), bias.stride, bias.zero};
}

// Reductions whose best lie where the kernel reaches them.
std::vector<ScoreReduction> Reductions(KernelMemory* memory, std::span<const ScoreReduction> rows) {
  std::vector<ScoreReduction> copies(rows.begin(), rows.end());
  for (ScoreReduction& row : copies) {
    row.best = {memory->Write(row.best.data(), row.best.size()), row.best.size()};
  }
  return copies;
}

}  // namespace

void KernelBackend::DoEmbed(const EmbedParams& params) {
  KernelMemory memory;
  EmbedParams p = params;
  const auto rows = static_cast<size_t>(std::ranges::max(p.ids)) + 1;
  p.table =
      memory.Read(static_cast<const std::byte*>(p.table), rows * p.d * ElementBytes(p.table_dtype));
  p.ids = memory.Read(p.ids);
  if (p.position_table != nullptr) {
    p.position_table = memory.Read(p.position_table, (std::ranges::max(p.positions) + 1) * p.d);
  }
  p.positions = memory.Read(p.positions);
  p.out = memory.Write(p.out, p.ids.size() * p.d);
  cuda::Embed(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoNorm(const NormParams& params) {
  KernelMemory memory;
  NormParams p = params;
  const size_t count = p.out.rows * p.out.cols;
  p.x = memory.Read(p.x, count);
  p.norm.gain = memory.Read(p.norm.gain, p.out.cols);
  p.norm.shift = memory.Read(p.norm.shift, p.out.cols);
  p.out = Write(&memory, p.out);
  p.residual = memory.Write(p.residual, count);
  cuda::Norm(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoActivate(const ActivateParams& p) {
  KernelMemory memory;
  const size_t wide = p.gated ? 2 : 1;
  cuda::Activate(
      {p.kind, p.gated, memory.Read(p.in, wide * p.out.rows * p.out.cols), Write(&memory, p.out)},
      memory.stream());
  memory.Run();
}

void KernelBackend::DoEncoderAttention(const EncoderAttentionParams& params) {
  KernelMemory memory;
  EncoderAttentionParams p = params;
  const size_t floats = Strided(p.num_keys, p.row_stride, size_t{p.num_heads} * p.head_dim);
  // One matrix has them all in its rows: from the first to the end of the last.
  const float* first = std::min({p.q, p.k, p.v});
  memory.Read(first, static_cast<size_t>(std::max({p.q, p.k, p.v}) - first) + floats);
  p.q = memory.Read(p.q, floats);
  p.k = memory.Read(p.k, floats);
  p.v = memory.Read(p.v, floats);
  p.bias = Read(&memory, p.bias, p.num_heads, p.num_keys);
  p.packed = memory.Write(p.packed, EncoderPackedBytes(p.num_keys, p.num_heads, p.head_dim));
  p.out = Write(&memory, p.out);
  cuda::EncoderAttention(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoAppendKv(const AppendKvParams& params) {
  KernelMemory memory;
  AppendKvParams p = params;
  const size_t floats =
      Strided(p.slots.size(), p.row_stride, size_t{p.region.num_kv_heads} * p.region.head_dim);
  p.k = memory.Read(p.k, floats);
  p.v = memory.Read(p.v, floats);
  const SlotRef last = std::ranges::max(p.slots, {}, &SlotRef::page);
  p.pool = Pages(&memory, p.pool, static_cast<size_t>(last.page), true);
  p.slots = memory.Read(p.slots);
  cuda::AppendKv(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoPagedAttention(const PagedAttentionParams& params) {
  // A launch of its own: the stream orders them.
  if (params.append != nullptr) DoAppendKv(*params.append);
  KernelMemory memory;
  PagedAttentionParams p = params;
  p.append = nullptr;
  cuda::PagedPlan plan;
  cuda::PlanPagedAttention(p.rows, &plan);
  const uint32_t most = most_queries_ > 0 ? most_queries_ : MostQueries(p, plan);
  const size_t heads = p.groups.heads.size();
  std::vector<float> partials(
      plan.first_chunk.back() * heads * cuda::PartialFloats(p.region.head_dim), NAN);
  p.q = memory.Read(p.q, Strided(p.rows.size(), p.q_stride, heads * p.region.head_dim));
  p.pool = Pages(&memory, p.pool, p.pages, false);
  p.rows = memory.Read(p.rows);
  p.pages = memory.Read(p.pages);
  p.groups = {memory.Read(p.groups.heads), memory.Read(p.groups.begin)};
  p.assigned = memory.Read(p.assigned);
  p.bias = Read(&memory, p.bias, heads, 1);  // of the query's own key at most
  p.out = Write(&memory, p.out);
  cuda::PagedAttention(
      p,
      {.items = memory.Read(plan.items.data(), plan.items.size()),
       .num_items = plan.items.size(),
       .first_chunk = memory.Read(plan.first_chunk.data(), plan.first_chunk.size()),
       .partials = memory.Write(partials.data(), partials.size()),
       .merges = plan.merges,
       .most_queries = most},
      memory.stream());
  memory.Run();
}

void KernelBackend::DoCopySlots(const CopySlotsParams& params) {
  KernelMemory memory;
  CopySlotsParams p = params;
  int32_t last = 0;
  for (const PageCopyRef& copy : p.copies) last = std::max({last, copy.from, copy.to});
  p.pool = Pages(&memory, p.pool, static_cast<size_t>(last), true);
  p.copies = memory.Read(p.copies);
  p.layers = memory.Read(p.layers);
  cuda::CopySlots(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoSumKeySquares(const SumKeySquaresParams& params) {
  KernelMemory memory;
  SumKeySquaresParams p = params;
  p.k = memory.Read(
      p.k, Strided(p.rows.size(), p.row_stride, size_t{p.region.num_kv_heads} * p.region.head_dim));
  p.pool = Pages(&memory, p.pool, p.pages, true);
  p.rows = memory.Read(p.rows);
  p.pages = memory.Read(p.pages);
  cuda::SumKeySquares(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoAssignHeads(const AssignHeadsParams& params) {
  KernelMemory memory;
  AssignHeadsParams p = params;
  p.pool = Pages(&memory, p.pool, p.pages, false);
  p.rows = memory.Read(p.rows);
  p.pages = memory.Read(p.pages);
  p.cached_norms = memory.Read(p.cached_norms);
  p.begin = {memory.Write(p.begin.data(), p.begin.size()), p.begin.size()};
  cuda::AssignHeads(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoSubtractNoise(const SubtractNoiseParams& params) {
  KernelMemory memory;
  SubtractNoiseParams p = params;
  p.x = memory.Read(p.x, p.out.rows * p.out.cols);
  p.rows = memory.Read(p.rows);
  p.out = Write(&memory, p.out);
  cuda::SubtractNoise(p, memory.stream());
  memory.Run();
}

void KernelBackend::DoExtractScores(const ExtractScoresParams& params) {
  if (params.places.empty()) return;
  KernelMemory memory;
  ExtractScoresParams p = params;
  const uint32_t last = std::ranges::max(p.places, {}, &ScorePlace::row).row;
  std::vector<float> taken(p.places.size(), NAN);
  p.scores = memory.Write(p.scores, (last + size_t{1}) * p.count);
  p.places = memory.Read(p.places);
  cuda::ExtractScores(p, memory.Write(taken.data(), taken.size()), memory.stream());
  memory.Run();
  for (size_t i = 0; i < taken.size(); ++i) params.values[params.places[i].value] = taken[i];
}

void KernelBackend::DoKeepScores(const KeepScoresParams& params) {
  if (params.rows.empty() || params.count == 0) return;
  KernelMemory memory;
  KeepScoresParams p = params;
  std::vector<float> kept(p.rows.size() * p.count, NAN);
  p.scores = memory.Read(p.scores, (std::ranges::max(p.rows) + size_t{1}) * p.count);
  p.rows = memory.Read(p.rows);
  cuda::KeepScores(p, memory.Write(kept.data(), kept.size()), memory.stream());
  memory.Run();
  for (size_t i = 0; i < params.rows.size(); ++i) {
    std::copy_n(&kept[i * p.count], p.count,
                p.out + params.rows[i] * p.vocab_size + static_cast<size_t>(p.first_token));
  }
}

void KernelBackend::DoReduceScores(const ReduceScoresParams& params) {
  KernelMemory memory;
  ReduceScoresParams p = params;
  size_t most = 0;
  for (const ScoreReduction& row : p.rows) most = std::max(most, row.best.size());
  std::vector<ScoreReduction> rows = Reductions(&memory, p.rows);
  p.scores = memory.Read(p.scores, p.rows.size() * p.count);
  p.rows = {memory.Write(rows.data(), rows.size()), rows.size()};
  cuda::ReduceScores(p, most, memory.stream());
  memory.Run();
  for (size_t i = 0; i < rows.size(); ++i) {
    params.rows[i].num_best = rows[i].num_best;
    params.rows[i].max = rows[i].max;
    params.rows[i].sum = rows[i].sum;
  }
}

}  // namespace precis
