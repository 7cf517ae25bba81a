#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"

namespace precis::cuda {
namespace {

constexpr size_t kConstantBytes = size_t{1} << 20;
// For what no limit tells of (places of scores to be taken out, layers) and padding of blocks.
constexpr size_t kSpareBytes = size_t{1} << 20;
// What padding may add to the blocks of one op.
constexpr size_t kOpPadding = 1024;

class CudaMatrix final : public PackedMatrix {
 public:
  CudaMatrix(DeviceMemory memory, size_t n, size_t k, DType dtype)
      : memory_(std::move(memory)), n_(n), k_(k), dtype_(dtype) {}
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return memory_.bytes(); }
  const void* data() const { return memory_.data(); }

 private:
  const DeviceMemory memory_;  // [n, k]
  const size_t n_;
  const size_t k_;
  const DType dtype_;
};

Status Failure(absl::StatusCode code, std::string_view what, cudaError_t error) {
  return Status(
      code, fmt::format("{}: {} ({})", what, cudaGetErrorName(error), cudaGetErrorString(error)));
}

// The values as the device's memory has them.
std::vector<std::byte> Rounded(std::span<const float> values, DType dtype) {
  std::vector<std::byte> out(values.size() * ElementBytes(dtype));
  if (dtype == DType::kF32) {
    std::memcpy(out.data(), values.data(), out.size());
  } else {
    auto* bits = reinterpret_cast<uint16_t*>(out.data());
    std::ranges::transform(values, bits, F32ToBF16);
  }
  return out;
}

// Of no meaning, but none is like its neighbour.
std::vector<float> ArbitraryFloats(size_t count) {
  std::vector<float> out(count);
  uint32_t state = 1;
  for (float& x : out) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return out;
}

StatusOr<DeviceMemory> Annotated(StatusOr<DeviceMemory> memory, std::string_view what) {
  if (!memory.ok()) return Annotate(memory.status(), what);
  return memory;
}

constexpr size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

uint32_t LargestGroup(const PagedAttentionParams& p) {
  // Rows may be dealt any number of heads; the host does not see how many.
  if (!p.dealt.empty()) return static_cast<uint32_t>(p.groups.heads.size());
  uint32_t most = 0;
  for (size_t g = 0; g + 1 < p.groups.begin.size(); ++g) {
    most = std::max(most, p.groups.begin[g + 1] - p.groups.begin[g]);
  }
  return most;
}

}  // namespace

StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Make(std::unique_ptr<DeviceGemm> gemm,
                                                         std::string device) {
  std::unique_ptr<CudaBackend> backend(new CudaBackend(std::move(gemm), std::move(device)));
  const cudaError_t error = cudaStreamCreateWithFlags(&backend->stream_, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    return Failure(absl::StatusCode::kUnavailable, "the CUDA device gives no stream", error);
  }
  return backend;
}

StatusOr<std::unique_ptr<Backend>> MakeCudaBackendWith(std::unique_ptr<DeviceGemm> gemm,
                                                       std::string device) {
  return CudaBackend::Make(std::move(gemm), std::move(device));
}

CudaBackend::~CudaBackend() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

Status CudaBackend::ErrorStatus() const {
  if (error_ != cudaSuccess) {
    return Failure(absl::StatusCode::kInternal, "the CUDA device failed", error_);
  }
  return gemm_->status();
}

// --- memory
// ----------------------------------------------------------------------------------------

StatusOr<DeviceMemory> CudaBackend::Allocate(size_t bytes) {
  if (bytes == 0) return DeviceMemory();
  void* data = nullptr;
  cudaError_t error = cudaMalloc(&data, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // it is told here, and is not the stream's
    const bool full = error == cudaErrorMemoryAllocation;
    return Failure(full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal,
                   fmt::format("cannot have {} bytes of the CUDA device", bytes), error);
  }
  DeviceMemory memory(static_cast<std::byte*>(data), bytes,
                      [](std::byte* of, size_t) { cudaFree(of); });
  Note(cudaMemsetAsync(data, 0, bytes, stream_));
  return memory;
}

// Of a device that cannot say it nothing is free: what comes next fails by name.
std::optional<uint64_t> CudaBackend::FreeDeviceBytes() const {
  size_t free = 0;
  size_t total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return 0;
  return free;
}

// From pageable memory the runtime has taken the bytes when it returns.
void CudaBackend::Upload(const void* host, size_t bytes, void* device) {
  if (Failed() || bytes == 0) return;
  Note(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_));
}

void CudaBackend::Download(const void* device, size_t bytes, void* host) {
  if (bytes == 0) return;
  if (!Failed()) Note(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_));
  if (!Failed()) Note(cudaStreamSynchronize(stream_));
  if (Failed()) std::memset(host, 0, bytes);
}

Status CudaBackend::Wait() {
  FetchAnswers();
  return ErrorStatus();
}

// Whatever the stream does is over then, and all blocks are free.
void CudaBackend::FetchAnswers() {
  if (!Failed()) Note(cudaGetLastError());
  for (const Answer& answer : answers_) {
    if (Failed()) break;
    Note(cudaMemcpyAsync(answer.block.host, answer.block.device, answer.block.bytes,
                         cudaMemcpyDeviceToHost, stream_));
  }
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
  const auto* copies = reinterpret_cast<const ScoreSummary*>(at);
  const auto* room = reinterpret_cast<const TokenScore*>(at + answer.summaries.size_bytes());
  for (size_t i = 0; i < answer.summaries.size(); ++i) {
    ScoreSummary& row = answer.summaries[i];
    row.num_best = copies[i].num_best;
    row.max = copies[i].max;
    row.sum = copies[i].sum;
    std::copy_n(room, row.num_best, row.best.data());
    room += row.best.size();
  }
}

// Prepare() has claimed room for each op within its limits; what has none comes by ForParts().
void CudaBackend::MakeRoom(size_t bytes) {
  if (staging_.Fits(bytes)) return;
  FetchAnswers();
  PRECIS_CHECK(staging_.Fits(bytes));
}

// op(first, count) over parts of `count` things of `each` bytes that have room.
template <typename Op>
void CudaBackend::ForParts(size_t count, size_t each, const Op& op) {
  const size_t most = std::max<size_t>(1, (staging_.bytes() - kOpPadding) / each);
  for (size_t first = 0; first < count; first += most) op(first, std::min(most, count - first));
}

// What never changes, once; where there are too many of them, once a step: MakeRoom() was called
// with their bytes.
template <typename T>
std::span<const T> CudaBackend::StageConstant(std::span<const T> values) {
  const size_t bytes = values.size_bytes();
  const bool constant = constant_.Fits(bytes) || constant_.Find(values.data(), bytes) != nullptr;
  return Stage(constant ? &constant_ : &staging_, values);
}

template <typename T>
std::span<const T> CudaBackend::Stage(Staging* staging, std::span<const T> values) {
  const std::byte* device = staging->Find(values.data(), values.size_bytes());
  if (device == nullptr) {
    Note(staging->Copy(values.data(), values.size_bytes(), stream_, &device));
  }
  return {reinterpret_cast<const T*>(device), values.size()};
}

// --- load
// ------------------------------------------------------------------------------------------

StatusOr<std::unique_ptr<PackedMatrix>> CudaBackend::Pack(std::string_view label,
                                                          std::span<const float> w, size_t n,
                                                          size_t k, DType dtype, size_t max_rows) {
  PRECIS_CHECK(w.size() == n * k && n > 0 && k > 0 && max_rows > 0);
  if (dtype == DType::kI8) {
    return InvalidArgument(fmt::format(
        "{}: the backend cuda has no weights of int8; use f32 or bf16", std::string(label)));
  }
  const Shape shape{n, k, dtype, max_rows};
  if (std::ranges::find(shapes_, shape) == shapes_.end()) {
    PRECIS_RETURN_IF_ERROR(gemm_->Plan(n, k, dtype, max_rows));
    shapes_.push_back(shape);
  }
  PRECIS_ASSIGN_OR_RETURN(DeviceMemory memory, Allocate(w.size() * ElementBytes(dtype)));
  const std::vector<std::byte> rounded = Rounded(w, dtype);
  Upload(rounded.data(), rounded.size(), memory.data());
  PRECIS_RETURN_IF_ERROR(ErrorStatus());
  return std::make_unique<CudaMatrix>(std::move(memory), n, k, dtype);
}

// Of a step; no op within the limits says more (see MakeRoom).
size_t CudaBackend::StepBytes(const BackendLimits& limits) {
  const size_t rows = limits.max_decode_rows;
  const size_t slots = std::max(1u, limits.fewest_page_slots);
  const size_t keys = std::max(limits.max_source_tokens, limits.max_target_tokens);
  const auto tables = [&](size_t of_keys) {
    return std::max<size_t>(rows, 1) * CeilDivide(of_keys, slots) * sizeof(int32_t);
  };
  const size_t items = 2 * rows * CeilDivide(keys, kPagedChunkKeys) * sizeof(PagedItem);
  // What else ops say of a row, scores that are sampled from, and an encoder slice or two.
  const size_t of_rows = rows * (1024 + limits.vocab_size * sizeof(float));
  const size_t one_summary = limits.vocab_size * sizeof(TokenScore);
  return tables(limits.max_source_tokens) + tables(limits.max_target_tokens) + items + of_rows +
         one_summary + size_t{limits.max_encode_rows} * 64 + kSpareBytes;
}

Status CudaBackend::Prepare(const BackendLimits& limits) {
  if (limits.head_dim > kMostHeadDim) {
    return InvalidArgument(fmt::format(
        "the device cuda has heads of up to {} dimensions, this model's have {}; use --device cpu",
        kMostHeadDim, limits.head_dim));
  }
  const size_t rows = limits.max_decode_rows;
  const size_t keys = std::max(limits.max_source_tokens, limits.max_target_tokens);
  const size_t chunks = rows * CeilDivide(keys, kPagedChunkKeys);
  const size_t step_bytes = StepBytes(limits);
  cudaError_t error = staging_.Claim(step_bytes);
  if (error == cudaSuccess) error = constant_.Claim(kConstantBytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // it is told here, and is not the stream's
    return Failure(
        absl::StatusCode::kResourceExhausted,
        fmt::format("cannot have {} bytes of pinned memory, and as many of the CUDA device: what a "
                    "step of {} rows, sources of {} tokens, targets of {} and a vocabulary of {} "
                    "may say",
                    step_bytes + kConstantBytes, rows, limits.max_source_tokens,
                    limits.max_target_tokens, limits.vocab_size),
        error);
  }
  PRECIS_ASSIGN_OR_RETURN(
      partials_,
      Annotated(
          Allocate(chunks * limits.num_heads * PartialFloats(limits.head_dim) * sizeof(float)),
          fmt::format("partial sums of attention, of {} rows with {} heads over {} tokens", rows,
                      limits.num_heads, keys)));
  plan_.items.reserve(chunks);
  plan_.first_chunk.reserve(rows + 1);
  plans_.reserve(64);
  answers_.reserve(1024);
  for (const Shape& shape : shapes_) PRECIS_RETURN_IF_ERROR(CheckInvariance(shape));
  return Wait();
}

// A row alone, among a few and among all must have the same bits.
Status CudaBackend::CheckInvariance(const Shape& shape) {
  const auto [n, k, dtype, max_rows] = shape;
  const size_t element = ElementBytes(dtype);
  PRECIS_ASSIGN_OR_RETURN(const DeviceMemory w, Allocate(n * k * element));
  PRECIS_ASSIGN_OR_RETURN(const DeviceMemory in, Allocate(max_rows * k * element));
  PRECIS_ASSIGN_OR_RETURN(const DeviceMemory out, Allocate(max_rows * n * sizeof(float)));
  const auto upload = [&](size_t count, const DeviceMemory& to) {
    const std::vector<std::byte> values = Rounded(ArbitraryFloats(count), shape.dtype);
    Upload(values.data(), values.size(), to.data());
  };
  upload(n * k, w);
  upload(max_rows * k, in);
  std::vector<float> last(n);  // the last row, among all
  std::vector<float> got(n);
  for (const size_t rows : {max_rows, size_t{1}, std::min<size_t>(3, max_rows)}) {
    std::byte* first = in.data() + (max_rows - rows) * k * element;
    auto* to = reinterpret_cast<float*>(out.data());
    gemm_->Gemm({first, dtype, rows, k}, w.data(), n, false, to, stream_);
    Download(to + (rows - 1) * n, n * sizeof(float), got.data());
    PRECIS_RETURN_IF_ERROR(ErrorStatus());
    if (rows == max_rows) last = got;
    if (std::memcmp(got.data(), last.data(), n * sizeof(float)) != 0) {
      return Status(absl::StatusCode::kInternal,
                    fmt::format("the CUDA GEMM of {} x {} in {} gives a row other bits among {} "
                                "rows than among {}",
                                n, k, DTypeName(dtype), rows, max_rows));
    }
  }
  return OkStatus();
}

// --- ops
// -------------------------------------------------------------------------------------------

void CudaBackend::Embed(std::span<const int32_t> ids, const void* table, DType table_dtype,
                        size_t d, float* out) {
  if (Failed() || ids.empty()) return;
  MakeRoom(Bytes(ids));
  cuda::Embed(Stage(&staging_, ids).data(), ids.size(), table, table_dtype, d, out, stream_);
}

void CudaBackend::RmsNorm(const float* x, const float* gain, float eps, const Activations& out) {
  if (!Failed()) cuda::RmsNorm(x, gain, eps, out, stream_);
}

void CudaBackend::Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) {
  if (Failed() || in.rows == 0) return;
  const auto& matrix = static_cast<const CudaMatrix&>(w);
  PRECIS_CHECK(in.cols == w.k() && in.dtype == w.dtype());
  gemm_->Gemm(in, matrix.data(), w.n(), accumulate, out, stream_);
  gemm_failed_ = !gemm_->status().ok();
}

void CudaBackend::Activate(ActivationKind kind, const float* in, const Activations& out) {
  if (!Failed()) cuda::Activate(kind, in, out, stream_);
}

void CudaBackend::EncoderAttention(const EncoderAttentionParams& params) {
  if (!Failed()) cuda::EncoderAttention(params, stream_);
}

void CudaBackend::AppendKv(const AppendKvParams& params) {
  if (Failed() || params.slots.empty()) return;
  MakeRoom(Bytes(params.slots));
  AppendKvParams p = params;
  p.slots = Stage(&staging_, params.slots);
  cuda::AppendKv(p, stream_);
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
  plan.work = {.items = Stage(&staging_, std::span<const PagedItem>(plan_.items)).data(),
               .num_items = plan_.items.size(),
               .first_chunk = Stage(&staging_, std::span<const uint32_t>(plan_.first_chunk)).data(),
               .partials = reinterpret_cast<float*>(partials_.data()),
               .merges = plan_.merges,
               .most_queries = 0};
  return plans_.emplace_back(plan);
}

void CudaBackend::PagedAttention(const PagedAttentionParams& params) {
  if (Failed() || params.rows.empty()) return;
  if (params.append != nullptr) AppendKv(*params.append);
  PagedAttentionParams p = params;
  p.append = nullptr;
  // A plan has an item a row and chunk at most; rows of one chunk need no partials.
  size_t chunks = 0;
  for (const PagedRow& row : params.rows) chunks += CeilDivide(row.num_keys, kPagedChunkKeys);
  MakeRoom(Bytes(params.rows) + Bytes(params.pages) + chunks * sizeof(PagedItem) +
           params.rows.size() * sizeof(uint32_t) + Bytes(params.groups.heads) +
           Bytes(params.groups.begin) + 256);
  p.rows = Stage(&staging_, params.rows);
  p.pages = Stage(&staging_, params.pages);
  p.groups.heads = StageConstant(params.groups.heads);
  p.groups.begin = StageConstant(params.groups.begin);
  const StagedPlan& plan = PlanOf(params.rows, p.rows.data());
  PagedWork work = plan.work;
  PRECIS_CHECK(!work.merges || chunks * params.groups.heads.size() *
                                       PartialFloats(params.region.head_dim) * sizeof(float) <=
                                   partials_.bytes());
  work.most_queries = plan.most_rows * LargestGroup(params);
  cuda::PagedAttention(p, work, stream_);
}

void CudaBackend::CopySlots(const CopySlotsParams& params) {
  if (Failed() || params.copies.empty() || params.layers.empty()) return;
  MakeRoom(Bytes(params.copies) + Bytes(params.layers));
  CopySlotsParams p = params;
  p.copies = Stage(&staging_, params.copies);
  p.layers = StageConstant(params.layers);
  cuda::CopySlots(p, stream_);
}

void CudaBackend::SumKeySquares(const SumKeySquaresParams& params) {
  if (Failed() || params.rows.empty()) return;
  MakeRoom(Bytes(params.rows) + Bytes(params.pages));
  SumKeySquaresParams p = params;
  p.rows = Stage(&staging_, params.rows);
  p.pages = Stage(&staging_, params.pages);
  cuda::SumKeySquares(p, stream_);
}

void CudaBackend::DealHeads(const DealHeadsParams& params) {
  if (Failed() || params.rows.empty()) return;
  MakeRoom(Bytes(params.rows) + Bytes(params.pages));
  DealHeadsParams p = params;
  p.rows = Stage(&staging_, params.rows);
  p.pages = Stage(&staging_, params.pages);
  cuda::DealHeads(p, stream_);
}

void CudaBackend::SubtractNoise(const SubtractNoiseParams& params) {
  if (Failed() || params.rows.empty()) return;
  MakeRoom(Bytes(params.rows));
  SubtractNoiseParams p = params;
  p.rows = Stage(&staging_, params.rows);
  cuda::SubtractNoise(p, stream_);
}

void CudaBackend::TakeOutScores(const TakeOutScoresParams& params) {
  const size_t each = 2 * sizeof(ScorePlace) + sizeof(float);
  ForParts(params.places.size(), each, [&](size_t first, size_t count) {
    TakeOutScoresParams part = params;
    part.places = params.places.subspan(first, count);
    TakeOutPart(part);
  });
}

void CudaBackend::TakeOutPart(const TakeOutScoresParams& params) {
  if (Failed()) return;
  const size_t count = params.places.size();
  MakeRoom(2 * Bytes(params.places) + count * sizeof(float));
  TakeOutScoresParams p = params;
  p.places = Stage(&staging_, params.places);
  // The host may change its own before they are asked for.
  const Staging::Block places = staging_.Take(params.places.size_bytes());
  std::memcpy(places.host, params.places.data(), places.bytes);
  const Staging::Block taken = staging_.Take(count * sizeof(float));
  cuda::TakeOutScores(p, reinterpret_cast<float*>(taken.device), stream_);
  answers_.push_back({.block = taken,
                      .summaries = {},
                      .values = params.values,
                      .places = {reinterpret_cast<const ScorePlace*>(places.host), count}});
}

void CudaBackend::KeepScores(const KeepScoresParams& params) {
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
  MakeRoom(2 * Bytes(params.rows) + bytes + 64);
  KeepScoresParams p = params;
  p.rows = Stage(&staging_, params.rows);
  const Staging::Block rows = staging_.Take(params.rows.size_bytes());
  std::memcpy(rows.host, params.rows.data(), rows.bytes);
  const Staging::Block kept = staging_.Take(bytes);
  cuda::KeepScores(p, reinterpret_cast<float*>(kept.device), stream_);
  p.rows = {reinterpret_cast<const uint32_t*>(rows.host), params.rows.size()};
  answers_.push_back({.block = kept, .summaries = {}, .places = {}, .kept = p});
}

// The summaries' copies on the device, which all panels of a step go into.
std::span<ScoreSummary> CudaBackend::SummariesOf(std::span<ScoreSummary> rows) {
  const auto is_of_rows = [&](const Answer& a) {
    return a.summaries.data() == rows.data() && a.summaries.size() == rows.size();
  };
  const auto known = std::ranges::find_if(answers_, is_of_rows);
  const auto copies = [&](std::byte* memory) {
    return std::span(reinterpret_cast<ScoreSummary*>(memory), rows.size());
  };
  if (known != answers_.end()) return copies(known->block.device);
  size_t best = 0;
  for (const ScoreSummary& row : rows) best += row.best.size();
  const size_t bytes = rows.size_bytes() + best * sizeof(TokenScore);
  MakeRoom(bytes);
  const Staging::Block block = staging_.Take(bytes);
  const std::span<ScoreSummary> staged = copies(block.host);
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
  Note(cudaMemcpyAsync(block.device, block.host, bytes, cudaMemcpyHostToDevice, stream_));
  answers_.push_back({.block = block, .summaries = rows, .places = {}});
  return copies(block.device);
}

void CudaBackend::SummarizeScores(const SummarizeScoresParams& params) {
  if (params.count == 0) return;
  size_t most = 0;
  for (const ScoreSummary& row : params.rows) most = std::max(most, row.best.size());
  const size_t each = sizeof(ScoreSummary) + most * sizeof(TokenScore);
  ForParts(params.rows.size(), each, [&](size_t first, size_t count) {
    if (Failed()) return;
    SummarizeScoresParams part = params;
    part.scores += first * params.count;
    part.rows = SummariesOf(params.rows.subspan(first, count));
    cuda::SummarizeScores(part, most, stream_);
  });
}

}  // namespace precis::cuda
