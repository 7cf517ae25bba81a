#include "kernels/cpu/cpu_backend.h"

#include <omp.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/copy_slots.h"

namespace precis {
namespace {

// Below this many elements a parallel region costs more than it saves.
constexpr size_t kParallelElements = 16 << 10;
// The same of scores to be reduced.
constexpr size_t kParallelScores = 12 << 10;
// Rows of AppendKv that one work item writes.
constexpr size_t kAppendRows = 16;
// Rows of one sequence that one work item attends for, at most.
constexpr uint32_t kGroupRows = 16;
// Work items a thread that level out items of different sizes.
constexpr uint32_t kItemsAThread = 4;

class NormedRows final : public PanelGemm::RowMaker {
 public:
  NormedRows(const CpuKernels& kernels, const float* x, const NormWeights& norm)
      : kernels_(kernels), x_(x), norm_(norm) {}
  void Make(size_t row, const Activations& out) const override {
    kernels_.norm(x_ + row * out.cols, norm_, out, 0, /*residual=*/nullptr);
  }

 private:
  const CpuKernels& kernels_;
  const float* const x_;
  const NormWeights& norm_;
};

class ActivatedRows final : public PanelGemm::RowMaker {
 public:
  ActivatedRows(const CpuKernels& kernels, ActivationKind kind, bool gated, const float* in)
      : kernels_(kernels), kind_(kind), gated_(gated), in_(in) {}
  void Make(size_t row, const Activations& out) const override {
    const size_t width = gated_ ? 2 * out.cols : out.cols;
    kernels_.activate(kind_, gated_, in_ + row * width, out, 0);
  }

 private:
  const CpuKernels& kernels_;
  const ActivationKind kind_;
  const bool gated_;
  const float* const in_;
};

constexpr size_t Chunks(size_t num_keys) { return CeilDiv(num_keys, kPagedChunkKeys); }

// Among how many threads the KV heads of a row can share out its work: fewer than there are where
// one of them serves most query heads.
size_t HeadsAtOnce(const PagedAttentionParams& p) {
  if (p.assigned.empty()) return p.region.num_kv_heads;
  uint32_t largest = 1;
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const std::span<const uint32_t> begin = GroupsOf(p, i).begin;
    for (size_t g = 0; g + 1 < begin.size(); ++g) {
      largest = std::max(largest, begin[g + 1] - begin[g]);
    }
  }
  return p.groups.heads.size() / largest;
}

// Whether row i may go together with the row before it.
bool JoinsRowBefore(const PagedAttentionParams& p, size_t i) {
  if (i == 0 || p.rows[i].first_page != p.rows[i - 1].first_page) return false;
  return p.assigned.empty() || std::ranges::equal(GroupsOf(p, i).begin, GroupsOf(p, i - 1).begin);
}

}  // namespace

CpuBackend::CpuBackend(Isa isa, uint32_t num_threads, std::unique_ptr<GemmEngine> gemm)
    : isa_(std::move(isa)),
      num_threads_(num_threads),
      kernels_(SelectKernels(isa_)),
      gemm_(std::move(gemm)),
      int8_gemm_(num_threads, kernels_),
      panel_gemm_(num_threads, kernels_) {}

std::string CpuBackend::Describe() const {
  std::vector<std::string> of_onednn;
  for (const std::string& text : {gemm_->Describe(), int8_gemm_.Describe()}) {
    if (!text.empty()) of_onednn.push_back(text);
  }
  std::vector<std::string> gemms;
  if (const std::string text = panel_gemm_.Describe(); !text.empty()) gemms.push_back(text);
  if (!of_onednn.empty()) {
    gemms.push_back(fmt::format("by oneDNN: {}", fmt::join(of_onednn, ", ")));
  }
  return fmt::format("cpu: isa {}, {} thread{}, GEMM {}", isa_.name, num_threads_,
                     num_threads_ == 1 ? "" : "s",
                     gemms.empty() ? "none yet" : fmt::format("{}", fmt::join(gemms, "; ")));
}

DType CpuBackend::activation_dtype(DType weights) const {
  return weights == DType::kI8 ? DType::kBF16 : weights;
}

StatusOr<std::unique_ptr<PackedMatrix>> CpuBackend::Pack(const MatrixToPack& matrix) {
  if (panel_gemm_.Takes(matrix.dtype, matrix.k)) return panel_gemm_.Pack(matrix);
  if (matrix.dtype == DType::kI8) return int8_gemm_.Pack(matrix);
  return gemm_->Pack(matrix);
}

Status CpuBackend::Prepare(const BackendLimits& limits) {
  limits_ = limits;
  PRECIS_RETURN_IF_ERROR(gemm_->Prepare());
  PRECIS_RETURN_IF_ERROR(int8_gemm_.Prepare());
  panel_gemm_.Prepare();
  const size_t floats = std::max({EncoderScratchFloats(limits.head_dim),
                                  PagedScratchFloats(limits.num_heads, limits.head_dim),
                                  NoiseScratchFloats(limits.head_dim)});
  scratch_floats_ = CeilDiv(floats, 2 * kMaxLanes) * 2 * kMaxLanes;
  scratch_.resize(num_threads_ * scratch_floats_ + kMaxLanes);
  const size_t chunks = Chunks(std::max(limits.max_source_tokens, limits.max_target_tokens));
  // Rows of one chunk need no partials.
  if (chunks > 1) {
    partials_.resize(limits.max_decode_rows * chunks * limits.num_heads *
                     PartialFloats(limits.head_dim));
  }
  first_chunk_.resize(limits.max_decode_rows + 1);
  groups_.reserve(limits.max_decode_rows);
  return OkStatus();
}

// Aligned to a cache line: tiles and vectors that straddle two cost twice as much.
float* CpuBackend::ThreadScratch() {
  const size_t straddle = reinterpret_cast<uintptr_t>(scratch_.data()) / sizeof(float) % kMaxLanes;
  return scratch_.data() + (kMaxLanes - straddle) +
         static_cast<size_t>(omp_get_thread_num()) * scratch_floats_;
}

void CpuBackend::DoEmbed(const EmbedParams& p) {
  const size_t n = p.ids.size();
#pragma omp parallel for num_threads(num_threads_) if (n * p.d >= kParallelElements)
  for (size_t i = 0; i < n; ++i) kernels_.embed(p, i);
}

void CpuBackend::DoNorm(const NormParams& p) {
  const Activations& out = p.out;
#pragma omp parallel for num_threads(num_threads_) if (out.rows * out.cols >= kParallelElements)
  for (size_t i = 0; i < out.rows; ++i) {
    const size_t begin = i * out.cols;
    float* const residual = p.residual != nullptr ? p.residual + begin : nullptr;
    kernels_.norm(p.x + begin, p.norm, out, i, residual);
  }
}

void CpuBackend::DoGemm(const GemmParams& p) {
  if (PanelGemm::Has(p.w)) return panel_gemm_.Run(p.in, p.w, p.accumulate, p.out);
  if (p.w.dtype() == DType::kI8) return int8_gemm_.Run(p.in, p.w, p.accumulate, p.out);
  gemm_->Run(p.in, p.w, p.accumulate, p.out);
}

void CpuBackend::DoGemmOfNorm(const GemmOfNormParams& p) {
  if (!PanelGemm::Has(p.w)) return Backend::DoGemmOfNorm(p);
  panel_gemm_.RunOf(NormedRows(kernels_, p.x, p.norm), p.rows, p.w, false, p.out);
}

void CpuBackend::DoGemmOfActivated(const GemmOfActivatedParams& p) {
  if (!PanelGemm::Has(p.w)) return Backend::DoGemmOfActivated(p);
  panel_gemm_.RunOf(ActivatedRows(kernels_, p.kind, p.gated, p.in), p.rows, p.w, true, p.out);
}

void CpuBackend::DoActivate(const ActivateParams& p) {
  const Activations& out = p.out;
  const size_t width = p.gated ? 2 * out.cols : out.cols;
#pragma omp parallel for num_threads(num_threads_) if (out.rows * out.cols >= kParallelElements)
  for (size_t i = 0; i < out.rows; ++i) {
    kernels_.activate(p.kind, p.gated, p.in + i * width, out, i);
  }
}

void CpuBackend::DoEncoderAttention(const EncoderAttentionParams& p) {
  PRECIS_CHECK(p.head_dim <= limits_.head_dim && p.begin + p.out.rows <= p.num_keys);
  // Smaller blocks of rows when whole ones would leave threads without work.
  size_t block = kEncoderQueryRows;
  while (block > 8 && p.num_heads * CeilDiv(p.out.rows, block) < 2 * num_threads_) block /= 2;
  const size_t blocks = CeilDiv(p.out.rows, block);
  const bool bf16 = p.out.dtype == DType::kBF16;
  const auto attend = bf16 ? kernels_.encoder_attention_bf16 : kernels_.encoder_attention;
  const bool packs = bf16 && kernels_.pack_encoder_keys != nullptr;
  PRECIS_CHECK(!packs || p.packed != nullptr);
#pragma omp parallel num_threads(num_threads_)
  {
    if (packs && !p.is_packed) {
      // The implied barrier: all keys are packed.
#pragma omp for
      for (size_t first = 0; first < p.num_keys; first += kEncoderPackedKeys) {
        kernels_.pack_encoder_keys(p, first);
      }
    }
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < p.num_heads * blocks; ++i) {
      const size_t first = i % blocks * block;
      attend(p, i / blocks, first, std::min(block, p.out.rows - first), ThreadScratch());
    }
  }
}

void CpuBackend::DoAppendKv(const AppendKvParams& p) {
  const size_t rows = p.slots.size();
  const size_t width = static_cast<size_t>(p.region.num_kv_heads) * p.region.head_dim;
#pragma omp parallel for num_threads(num_threads_) if (rows * width >= kParallelElements)
  for (size_t begin = 0; begin < rows; begin += kAppendRows) {
    kernels_.append_kv(p, {begin, std::min(begin + kAppendRows, rows), 0, p.region.num_kv_heads});
  }
}

// One thread's share of what attention appends first; all threads of a team call it. As near as can
// be what the same thread reads then.
void CpuBackend::AppendShareOfThread(const AppendKvParams& p) const {
  const auto threads = static_cast<size_t>(omp_get_num_threads());
  const auto thread = static_cast<size_t>(omp_get_thread_num());
  const size_t rows = p.slots.size();
  const size_t heads = p.region.num_kv_heads;
  if (rows >= threads) {
    kernels_.append_kv(p, {rows * thread / threads, rows * (thread + 1) / threads, 0, heads});
  } else {
    kernels_.append_kv(p, {0, rows, heads * thread / threads, heads * (thread + 1) / threads});
  }
}

void CpuBackend::CountChunks(std::span<const PagedRow> rows) {
  PRECIS_CHECK(rows.size() < first_chunk_.size());
  const uint32_t max_keys = std::max(limits_.max_source_tokens, limits_.max_target_tokens);
  uint32_t chunks = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    PRECIS_CHECK(rows[i].num_keys >= 1 && rows[i].num_keys <= max_keys);
    first_chunk_[i] = chunks;
    chunks += static_cast<uint32_t>(Chunks(rows[i].num_keys));
  }
  first_chunk_[rows.size()] = chunks;
}

// Groups of up to `most` rows. Returns the number of their items.
uint32_t CpuBackend::GroupRowsBy(const PagedAttentionParams& p, uint32_t most) {
  groups_.clear();
  uint32_t items = 0;
  uint32_t chunks = 0;  // of the last group
  for (uint32_t i = 0; i < p.rows.size(); ++i) {
    if (JoinsRowBefore(p, i) && groups_.back().num_rows < most) {
      ++groups_.back().num_rows;
    } else {
      items += chunks;
      chunks = 0;
      groups_.push_back({i, 1, items});
    }
    chunks = std::max(chunks, first_chunk_[i + 1] - first_chunk_[i]);
  }
  return items + chunks;
}

// As many rows together as leave every thread an item; how rows are grouped does not change their
// bits. Returns the number of items of one KV head.
uint32_t CpuBackend::GroupRows(const PagedAttentionParams& p) {
  uint32_t most = kGroupRows;
  uint32_t items = GroupRowsBy(p, most);
  const size_t heads = HeadsAtOnce(p);
  while (items * heads < num_threads_ && most > 1) {
    most /= 2;
    items = GroupRowsBy(p, most);
  }
  return items;
}

bool CpuBackend::HaveEqualKeys(std::span<const PagedRow> rows) {
  return std::ranges::all_of(rows,
                             [&](const PagedRow& row) { return row.num_keys == rows[0].num_keys; });
}

// Neighbouring KV heads of one work item: as many as leave every thread enough of the `items` that
// a head has. Heads lie side by side in a page, and long pieces are read faster than short ones.
// How heads are put together does not change their bits.
uint32_t CpuBackend::HeadsTogether(const PagedAttentionParams& p, uint32_t items) const {
  const bool equal = HaveEqualKeys(p.rows);
  uint32_t heads = p.region.num_kv_heads;
  const auto uneven = [&] {
    const size_t all = items * CeilDiv(p.region.num_kv_heads, heads);
    return all < num_threads_ * kItemsAThread &&
           !(equal && p.region.num_kv_heads % heads == 0 && all % num_threads_ == 0);
  };
  while (heads > 1 && uneven()) heads = (heads + 1) / 2;
  return heads;
}

// Null: none beyond those of any target.
const PagedProducts* CpuBackend::ProductsFor(const KvRegion& region) const {
  if (region.slots % region.pack() != 0 || region.head_dim > kMaxVnniHeadDim) return nullptr;
  if (region.dtype == DType::kI8) return kernels_.paged_int8;
  return region.dtype == DType::kBF16 ? kernels_.paged_bf16 : nullptr;
}

void CpuBackend::AttendItem(const PagedAttentionParams& p, uint32_t item, uint32_t heads_together) {
  const auto blocks = static_cast<uint32_t>(CeilDiv(p.region.num_kv_heads, heads_together));
  const uint32_t of_head = item / blocks;
  const uint32_t first = item % blocks * heads_together;
  const auto after = std::ranges::upper_bound(groups_, of_head, {}, &PagedGroup::first_item);
  const PagedGroup& group = *std::prev(after);
  kernels_.paged_attention(p,
                           {.first_row = group.first_row,
                            .num_rows = group.num_rows,
                            .first_kv_head = first,
                            .num_kv_heads = std::min(heads_together, p.region.num_kv_heads - first),
                            .chunk = of_head - group.first_item},
                           ProductsFor(p.region), ThreadScratch(),
                           {first_chunk_.data(), partials_.data()});
}

// One thread's share of the work items; all threads of a team call it.
void CpuBackend::AttendItems(const PagedAttentionParams& p, uint32_t items, uint32_t together) {
  const auto threads = static_cast<uint32_t>(omp_get_num_threads());
  if (items <= threads || (items <= threads * kItemsAThread && HaveEqualKeys(p.rows))) {
    // Neighbours, of which a thread may have appended the last keys.
    const auto thread = static_cast<uint32_t>(omp_get_thread_num());
    const uint32_t end = items * (thread + 1) / threads;
    for (uint32_t i = items * thread / threads; i < end; ++i) AttendItem(p, i, together);
    return;
  }
#pragma omp for schedule(dynamic) nowait
  for (uint32_t i = 0; i < items; ++i) AttendItem(p, i, together);
}

void CpuBackend::DoPagedAttention(const PagedAttentionParams& p) {
  const size_t num_heads = p.groups.heads.size();
  const size_t head_dim = p.region.head_dim;
  PRECIS_CHECK(num_heads <= limits_.num_heads && head_dim <= limits_.head_dim);
  PRECIS_CHECK(p.assigned.empty() ||
               p.assigned.size() == p.rows.size() * (p.region.num_kv_heads + 1));
  CountChunks(p.rows);
  const uint32_t items_of_head = GroupRows(p);
  const uint32_t together = HeadsTogether(p, items_of_head);
  const auto items =
      items_of_head * static_cast<uint32_t>(CeilDiv(p.region.num_kv_heads, together));
  const size_t chunk_floats = num_heads * PartialFloats(head_dim);
#pragma omp parallel num_threads(num_threads_)
  {
    if (p.append != nullptr) {
      AppendShareOfThread(*p.append);
#pragma omp barrier
    }
    AttendItems(p, items, together);
  }
  // Rows of one chunk each have nothing to merge.
  if (first_chunk_[p.rows.size()] == p.rows.size()) return;
#pragma omp parallel for num_threads(num_threads_)
  for (size_t i = 0; i < p.rows.size() * num_heads; ++i) {
    const size_t row = i / num_heads;
    const size_t head = i % num_heads;
    const size_t first = first_chunk_[row];
    const size_t chunks = first_chunk_[row + 1] - first;
    if (chunks == 1) continue;
    kernels_.merge_partials(
        partials_.data() + first * chunk_floats + head * PartialFloats(head_dim), chunks,
        chunk_floats, head_dim, p.out, row * p.out.cols + head * head_dim);
  }
}

void CpuBackend::DoReduceScores(const ReduceScoresParams& p) {
  const size_t rows = p.rows.size();
#pragma omp parallel for num_threads(num_threads_) if (rows > 1 && \
                                                       rows * p.count >= kParallelScores)
  for (size_t i = 0; i < rows; ++i) {
    kernels_.reduce_scores(p.scores + i * p.count, p.count, p.first_token, &p.rows[i]);
  }
}

void CpuBackend::DoCopySlots(const CopySlotsParams& params) {
  const size_t copies = params.copies.size();
#pragma omp parallel for num_threads(num_threads_) if (copies > 1)
  for (size_t i = 0; i < copies; ++i) {
    CopyPageSlots(params.pool, params.layers, params.copies[i]);
  }
}

StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const BackendOptions& options) {
  PRECIS_ASSIGN_OR_RETURN(Isa isa, ChooseIsa(options.isa));
  const uint32_t threads = std::max(options.threads, 1u);
  PRECIS_ASSIGN_OR_RETURN(std::unique_ptr<GemmEngine> gemm, GemmEngine::Make(threads));
  return std::make_unique<CpuBackend>(std::move(isa), threads, std::move(gemm));
}

}  // namespace precis
