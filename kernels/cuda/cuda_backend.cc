#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/math.h"
#include "fmt/format.h"
#include "kernels/cuda/gemm/cuda_matrix.h"

namespace precis::cuda {
namespace {

// What padding may add to the blocks of one op, beside an eighth of them.
constexpr size_t kOpPadding = 1024;

uint32_t LargestGroup(const PagedAttentionParams& p) {
  // Rows may be assigned any number of heads; the host does not see how many.
  if (!p.assigned.empty()) return static_cast<uint32_t>(p.groups.heads.size());
  uint32_t most = 0;
  for (size_t g = 0; g + 1 < p.groups.begin.size(); ++g) {
    most = std::max(most, p.groups.begin[g + 1] - p.groups.begin[g]);
  }
  return most;
}

}  // namespace

StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Make(std::unique_ptr<DeviceGemm> gemm,
                                                         const BackendOptions& options,
                                                         std::string device) {
  std::unique_ptr<CudaBackend> backend(
      new CudaBackend(std::move(gemm), std::move(device), options.cuda_graphs));
  const cudaError_t error = cudaStreamCreateWithFlags(&backend->stream_, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    return DeviceStatus(error, "the CUDA device gives no stream", absl::StatusCode::kUnavailable);
  }
  return backend;
}

StatusOr<std::unique_ptr<Backend>> MakeCudaBackendWith(std::unique_ptr<DeviceGemm> gemm,
                                                       const BackendOptions& options,
                                                       std::string device) {
  return CudaBackend::Make(std::move(gemm), options, std::move(device));
}

// What was kept and not waited for is not done.
CudaBackend::~CudaBackend() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  graph_cache_.Clear();
  cudaStreamDestroy(stream_);
}

std::string CudaBackend::Describe() const {
  return fmt::format("{}; one stream, {}; GEMM {}", device_,
                     graphs_ ? "CUDA graphs" : "no CUDA graphs", gemm_->Describe());
}

// --- launches
// --------------------------------------------------------------------------------------

void CudaBackend::Copy(const Staging::Block& block) {
  if (!work_.HasRoom(0)) Issue();
  work_.Copy(block);
}

void CudaBackend::Issue() {
  if (!Failed()) Note(work_.Issue(stream_));
  work_.Clear();
}

// Of what stands before it the errors are not the graph's.
void CudaBackend::IssueAsGraph() {
  if (!Failed()) Note(cudaGetLastError());
  if (Failed() || !keeps_ || work_.empty()) return Issue();
  const StatusOr<bool> launched = graph_cache_.Launch(work_, stream_);
  Note(launched.status());
  if (launched.ok() && !*launched) return Issue();
  work_.Clear();
}

// --- memory
// ----------------------------------------------------------------------------------------

// From pageable memory the runtime has taken the bytes when it returns.
void CudaBackend::Upload(const void* host, size_t bytes, void* device) {
  Issue();
  if (Failed() || bytes == 0) return;
  Note(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_));
}

void CudaBackend::Download(const void* device, size_t bytes, void* host) {
  Issue();
  if (bytes == 0) return;
  if (!Failed()) Note(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_));
  if (!Failed()) Note(cudaStreamSynchronize(stream_));
  if (Failed()) std::memset(host, 0, bytes);
}

Status CudaBackend::Wait() {
  FetchAnswers();
  keeps_ = false;
  return failure_;
}

// Whatever the stream does is over then, and all blocks are free.
void CudaBackend::FetchAnswers() {
  for (const Answer& answer : answers_) {
    Launch([block = answer.block](cudaStream_t stream) {
      return cudaMemcpyAsync(block.host, block.device, block.bytes, cudaMemcpyDeviceToHost, stream);
    });
  }
  IssueAsGraph();
  if (!Failed()) Note(cudaGetLastError());
  if (!Failed()) Note(cudaStreamSynchronize(stream_));
  if (!Failed()) {
    for (const Answer& answer : answers_) Deliver(answer);
  }
  answers_.clear();
  plans_.clear();
  staging_.Recycle();
}

void CudaBackend::Deliver(const Answer& answer) {
  const auto* floats = reinterpret_cast<const float*>(answer.block.host);
  if (answer.values != nullptr) {
    for (size_t i = 0; i < answer.places.size(); ++i) {
      answer.values[answer.places[i].value] = floats[i];
    }
    return;
  }
  if (answer.kept.out != nullptr) {
    const KeepScoresParams& p = answer.kept;
    for (size_t i = 0; i < p.rows.size(); ++i) {
      std::copy_n(floats + i * p.count, p.count,
                  p.out + p.rows[i] * p.vocab_size + static_cast<size_t>(p.first_token));
    }
    return;
  }
  const std::byte* at = answer.block.host;
  const auto* copies = reinterpret_cast<const ScoreReduction*>(at);
  const auto* room = reinterpret_cast<const TokenScore*>(at + answer.reductions.size_bytes());
  for (size_t i = 0; i < answer.reductions.size(); ++i) {
    ScoreReduction& row = answer.reductions[i];
    row.num_best = copies[i].num_best;
    row.max = copies[i].max;
    row.sum = copies[i].sum;
    std::copy_n(room, row.num_best, row.best.data());
    room += row.best.size();
  }
}

// Prepare() has claimed room for each op within its limits; what has none comes by ForParts().
void CudaBackend::MakeRoom(size_t bytes) {
  if (staging_.Fits(bytes) && answers_.size() < answers_.capacity()) return;
  FetchAnswers();
  PRECIS_CHECK(staging_.Fits(bytes));
}

// op(first, count) over parts of `count` things of `each` bytes that have room.
template <typename Op>
void CudaBackend::ForParts(size_t count, size_t each, const Op& op) {
  const size_t most = std::max<size_t>(1, (staging_.bytes() / 8 * 7 - kOpPadding) / each);
  for (size_t first = 0; first < count; first += most) op(first, std::min(most, count - first));
}

// What never changes, once; where there are too many of them, once a step: MakeRoom() was called
// with their bytes. It goes at once, as no work that comes again is to hold it.
template <typename T>
std::span<const T> CudaBackend::StageConstant(std::span<const T> values) {
  const size_t bytes = values.size_bytes();
  const std::byte* device = constant_.Find(values.data(), bytes);
  if (device == nullptr) {
    if (values.empty() || !constant_.Fits(Staging::BlockBytes(bytes))) return Stage(values);
    const Staging::Block block = constant_.Copy(values.data(), bytes);
    Note(cudaMemcpyAsync(block.device, block.host, bytes, cudaMemcpyHostToDevice, stream_));
    device = block.device;
  }
  return {reinterpret_cast<const T*>(device), values.size()};
}

// --- ops
// -------------------------------------------------------------------------------------------

// A batch begins here: what was before is not of it.
void CudaBackend::DoEmbed(const EmbedParams& params) {
  if (Failed() || params.ids.empty()) return;
  Issue();
  keeps_ = graphs_;
  MakeRoom(Bytes(params.ids) + Bytes(params.positions));
  EmbedParams p = params;
  p.ids = Stage(params.ids);
  p.positions = Stage(params.positions);
  Launch([p](cudaStream_t stream) { cuda::Embed(p, stream); });
}

void CudaBackend::DoNorm(const NormParams& p) {
  if (Failed()) return;
  Launch([p](cudaStream_t stream) { cuda::Norm(p, stream); });
}

// The library may have other kernels for other numbers of rows: a graph is for a bucket of them.
void CudaBackend::DoGemm(const GemmParams& p) {
  const Activations& in = p.in;
  if (Failed() || in.rows == 0) return;
  const auto& matrix = static_cast<const CudaMatrix&>(p.w);
  PRECIS_CHECK(in.cols == matrix.k() && in.dtype == matrix.dtype());
  Launch([gemm = gemm_.get(), in, data = matrix.data(), n = matrix.n(), accumulate = p.accumulate,
          out = p.out](
             cudaStream_t stream) { return gemm->Gemm(in, data, n, accumulate, out, stream); },
         static_cast<uint32_t>(std::bit_width(in.rows - 1)));
  if (!matrix.has_bias()) return;
  // A launch of its own: docs/gpu.md says why it is not the library's.
  Launch([bias = matrix.bias(), rows = in.rows, n = matrix.n(), out = p.out](cudaStream_t stream) {
    cuda::AddBias(bias, rows, n, out, stream);
  });
}

void CudaBackend::DoActivate(const ActivateParams& p) {
  if (Failed()) return;
  Launch([p](cudaStream_t stream) { cuda::Activate(p, stream); });
}

void CudaBackend::DoEncoderAttention(const EncoderAttentionParams& params) {
  if (Failed()) return;
  keeps_ = false;
  Launch([params](cudaStream_t stream) { cuda::EncoderAttention(params, stream); });
}

void CudaBackend::DoAppendKv(const AppendKvParams& params) {
  if (Failed() || params.slots.empty()) return;
  MakeRoom(Bytes(params.slots));
  AppendKvParams p = params;
  p.slots = Stage(params.slots);
  Launch([p](cudaStream_t stream) { cuda::AppendKv(p, stream); });
}

const CudaBackend::StagedPlan& CudaBackend::PlanOf(std::span<const PagedRow> rows,
                                                   const PagedRow* device) {
  const auto known = std::ranges::find(plans_, device, &StagedPlan::rows);
  if (known != plans_.end()) return *known;
  PlanPagedAttention(rows, &plan_);
  if (plans_.size() == plans_.capacity()) plans_.clear();
  StagedPlan plan{.rows = device, .work = {}, .most_rows = 0};
  for (const PagedItem& item : plan_.items)
    plan.most_rows = std::max(plan.most_rows, item.num_rows);
  plan.work = {.items = Stage(std::span<const PagedItem>(plan_.items)).data(),
               .num_items = plan_.items.size(),
               .first_chunk = Stage(std::span<const uint32_t>(plan_.first_chunk)).data(),
               .partials = reinterpret_cast<float*>(partials_.data()),
               .merges = plan_.merges,
               .most_queries = 0};
  return plans_.emplace_back(plan);
}

void CudaBackend::DoPagedAttention(const PagedAttentionParams& params) {
  if (Failed() || params.rows.empty()) return;
  if (params.append != nullptr) DoAppendKv(*params.append);
  PagedAttentionParams p = params;
  p.append = nullptr;
  // A plan has an item a row and chunk at most; rows of one chunk need no partials.
  size_t chunks = 0;
  for (const PagedRow& row : params.rows) chunks += CeilDiv(row.num_keys, kPagedChunkKeys);
  MakeRoom(Bytes(params.rows) + Bytes(params.pages) +
           Staging::BlockBytes(chunks * sizeof(PagedItem)) +
           Staging::BlockBytes((params.rows.size() + 1) * sizeof(uint32_t)) +
           Bytes(params.groups.heads) + Bytes(params.groups.begin));
  p.rows = Stage(params.rows);
  p.pages = StagePages(params.pages);
  p.groups.heads = StageConstant(params.groups.heads);
  p.groups.begin = StageConstant(params.groups.begin);
  const StagedPlan& plan = PlanOf(params.rows, p.rows.data());
  PagedWork work = plan.work;
  PRECIS_CHECK(!work.merges || chunks * params.groups.heads.size() *
                                       PartialFloats(params.region.head_dim) * sizeof(float) <=
                                   partials_.bytes());
  work.most_queries = plan.most_rows * LargestGroup(params);
  Launch([p, work](cudaStream_t stream) { cuda::PagedAttention(p, work, stream); }, work.merges);
}

void CudaBackend::DoCopySlots(const CopySlotsParams& params) {
  if (Failed() || params.copies.empty() || params.layers.empty()) return;
  MakeRoom(Bytes(params.copies) + Bytes(params.layers));
  CopySlotsParams p = params;
  p.copies = Stage(params.copies);
  p.layers = StageConstant(params.layers);
  Launch([p](cudaStream_t stream) { cuda::CopySlots(p, stream); });
}

void CudaBackend::DoExtractScores(const ExtractScoresParams& params) {
  const size_t each = 2 * sizeof(ScorePlace) + sizeof(float);
  ForParts(params.places.size(), each, [&](size_t first, size_t count) {
    ExtractScoresParams part = params;
    part.places = params.places.subspan(first, count);
    ExtractPart(part);
  });
}

void CudaBackend::ExtractPart(const ExtractScoresParams& params) {
  if (Failed()) return;
  const size_t count = params.places.size();
  MakeRoom(2 * Bytes(params.places) + Staging::BlockBytes(count * sizeof(float)));
  ExtractScoresParams p = params;
  p.places = Stage(params.places);
  // The host may change its own before they are asked for.
  const Staging::Block places = staging_.Take(params.places.size_bytes());
  std::memcpy(places.host, params.places.data(), places.bytes);
  const Staging::Block taken = staging_.Take(count * sizeof(float));
  p.values = nullptr;  // the host's
  Launch([p, out = reinterpret_cast<float*>(taken.device)](cudaStream_t stream) {
    cuda::ExtractScores(p, out, stream);
  });
  answers_.push_back({.block = taken,
                      .reductions = {},
                      .values = params.values,
                      .places = {reinterpret_cast<const ScorePlace*>(places.host), count}});
}

void CudaBackend::DoKeepScores(const KeepScoresParams& params) {
  if (params.count == 0) return;
  const size_t each = 2 * sizeof(uint32_t) + params.count * sizeof(float);
  ForParts(params.rows.size(), each, [&](size_t first, size_t count) {
    KeepScoresParams part = params;
    part.rows = params.rows.subspan(first, count);
    KeepPart(part);
  });
}

void CudaBackend::KeepPart(const KeepScoresParams& params) {
  if (Failed()) return;
  const size_t bytes = params.rows.size() * params.count * sizeof(float);
  MakeRoom(2 * Bytes(params.rows) + Staging::BlockBytes(bytes));
  KeepScoresParams p = params;
  p.rows = Stage(params.rows);
  p.out = nullptr;  // the host's
  const Staging::Block rows = staging_.Take(params.rows.size_bytes());
  std::memcpy(rows.host, params.rows.data(), rows.bytes);
  const Staging::Block kept = staging_.Take(bytes);
  Launch([p, out = reinterpret_cast<float*>(kept.device)](cudaStream_t stream) {
    cuda::KeepScores(p, out, stream);
  });
  p.rows = {reinterpret_cast<const uint32_t*>(rows.host), params.rows.size()};
  p.out = params.out;
  answers_.push_back({.block = kept, .reductions = {}, .places = {}, .kept = p});
}

// The reductions' copies on the device, which all panels of a step go into.
std::span<ScoreReduction> CudaBackend::ReductionsOf(std::span<ScoreReduction> rows) {
  const auto is_of_rows = [&](const Answer& a) {
    return a.reductions.data() == rows.data() && a.reductions.size() == rows.size();
  };
  const auto known = std::ranges::find_if(answers_, is_of_rows);
  const auto copies = [&](std::byte* memory) {
    return std::span(reinterpret_cast<ScoreReduction*>(memory), rows.size());
  };
  if (known != answers_.end()) return copies(known->block.device);
  size_t best = 0;
  for (const ScoreReduction& row : rows) best += row.best.size();
  const size_t bytes = rows.size_bytes() + best * sizeof(TokenScore);
  MakeRoom(Staging::BlockBytes(bytes));
  const Staging::Block block = staging_.Take(bytes);
  const std::span<ScoreReduction> staged = copies(block.host);
  std::byte* const room = block.host + rows.size_bytes();
  auto* at = reinterpret_cast<TokenScore*>(room);
  auto* device_at = reinterpret_cast<TokenScore*>(block.device + rows.size_bytes());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::construct_at(&staged[i], rows[i]);
    staged[i].best = {device_at, rows[i].best.size()};
    std::copy_n(rows[i].best.data(), rows[i].num_best, at);
    at += rows[i].best.size();
    device_at += rows[i].best.size();
  }
  Copy(block);
  answers_.push_back({.block = block, .reductions = rows, .places = {}});
  return copies(block.device);
}

void CudaBackend::DoReduceScores(const ReduceScoresParams& params) {
  if (params.count == 0) return;
  size_t most = 0;
  for (const ScoreReduction& row : params.rows) most = std::max(most, row.best.size());
  const size_t each = sizeof(ScoreReduction) + most * sizeof(TokenScore);
  ForParts(params.rows.size(), each, [&](size_t first, size_t count) {
    if (Failed()) return;
    ReduceScoresParams part = params;
    part.scores += first * params.count;
    part.rows = ReductionsOf(params.rows.subspan(first, count));
    Launch([part, most](cudaStream_t stream) { cuda::ReduceScores(part, most, stream); });
  });
}

}  // namespace precis::cuda
