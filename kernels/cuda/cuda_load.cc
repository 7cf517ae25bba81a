// What CudaBackend does while a model is loaded: memory, weights, room for a step.
#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/math.h"
#include "fmt/format.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/gemm/cuda_matrix.h"
#include "kernels/gemm_invariance.h"

namespace precis::cuda {
namespace {

constexpr size_t kConstantBytes = size_t{1} << 20;
// For what no limit tells of (places of scores to be taken out, layers) and padding of blocks.
constexpr size_t kSpareBytes = size_t{1} << 20;
// The engine's panels of a vocabulary are no narrower, but the last.
constexpr size_t kPanelTokens = 64;

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

}  // namespace

StatusOr<DeviceMemory> CudaBackend::Allocate(size_t bytes) {
  if (bytes == 0) return DeviceMemory();
  void* data = nullptr;
  cudaError_t error = cudaMalloc(&data, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // it is told here, and is not the stream's
    const bool full = error == cudaErrorMemoryAllocation;
    return DeviceStatus(error, fmt::format("cannot have {} bytes of the CUDA device", bytes),
                        full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal);
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

StatusOr<std::unique_ptr<PackedMatrix>> CudaBackend::Pack(const MatrixToPack& matrix) {
  PRECIS_CHECK(matrix.IsWhole());
  const DType dtype = matrix.dtype;
  if (dtype == DType::kI8) {
    return InvalidArgument(fmt::format(
        "{}: the backend cuda has no weights of int8; use f32 or bf16", std::string(matrix.label)));
  }
  const Shape shape{matrix.n, matrix.k, dtype, matrix.max_rows};
  if (std::ranges::find(shapes_, shape) == shapes_.end()) {
    PRECIS_RETURN_IF_ERROR(gemm_->Plan(shape.n, shape.k, dtype, shape.max_rows));
    shapes_.push_back(shape);
  }
  const std::vector<std::byte> rounded = Rounded(matrix.w, dtype);
  PRECIS_ASSIGN_OR_RETURN(DeviceMemory weights, Allocate(rounded.size()));
  Upload(rounded.data(), rounded.size(), weights.data());
  PRECIS_ASSIGN_OR_RETURN(DeviceMemory bias, Allocate(matrix.bias.size_bytes()));
  Upload(matrix.bias.data(), bias.bytes(), bias.data());
  PRECIS_RETURN_IF_ERROR(failure_);
  return std::make_unique<CudaMatrix>(std::move(weights), std::move(bias), shape.n, shape.k, dtype);
}

// Of a step; no op within the limits says more (see MakeRoom).
size_t CudaBackend::StepBytes(const BackendLimits& limits) {
  const size_t rows = limits.max_decode_rows;
  const size_t slots = std::max(1u, limits.fewest_page_slots);
  const size_t keys = std::max(limits.max_source_tokens, limits.max_target_tokens);
  const auto tables = [&](size_t of_keys) {
    return std::max<size_t>(rows, 1) * CeilDiv(of_keys, slots) * sizeof(int32_t);
  };
  const size_t items = 2 * rows * CeilDiv(keys, kPagedChunkKeys) * sizeof(PagedItem);
  // What else ops say of a row, scores that are sampled from, and an encoder slice or two.
  const size_t of_rows = rows * (1024 + limits.vocab_size * sizeof(float));
  const size_t one_reduction = limits.vocab_size * sizeof(TokenScore);
  const size_t said = tables(limits.max_source_tokens) + tables(limits.max_target_tokens) + items +
                      of_rows + one_reduction + size_t{limits.max_encode_rows} * 64 + kSpareBytes;
  return said + CeilDiv(said, 8);  // what blocks take up more
}

Status CudaBackend::Prepare(const BackendLimits& limits) {
  if (limits.head_dim > kMostHeadDim) {
    return InvalidArgument(fmt::format(
        "the device cuda has heads of up to {} dimensions, this model's have {}; use --device cpu",
        kMostHeadDim, limits.head_dim));
  }
  const size_t rows = limits.max_decode_rows;
  const size_t keys = std::max(limits.max_source_tokens, limits.max_target_tokens);
  const size_t chunks = rows * CeilDiv(keys, kPagedChunkKeys);
  const size_t step_bytes = StepBytes(limits);
  PRECIS_RETURN_IF_ERROR(Wait());
  graph_cache_.Clear();  // what they use goes
  cudaError_t error = staging_.Claim(step_bytes);
  if (error == cudaSuccess) error = constant_.Claim(kConstantBytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // it is told here, and is not the stream's
    return DeviceStatus(
        error,
        fmt::format("cannot have {} bytes of pinned memory, and as many of the CUDA device: what a "
                    "step of {} rows, sources of {} tokens, targets of {} and a vocabulary of {} "
                    "may say",
                    step_bytes + kConstantBytes, rows, limits.max_source_tokens,
                    limits.max_target_tokens, limits.vocab_size),
        absl::StatusCode::kResourceExhausted);
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
  // Of each panel those taken out and those kept; one more are the reductions.
  answers_.reserve(1 + 2 * CeilDiv(limits.vocab_size, kPanelTokens));
  for (const Shape& shape : shapes_) PRECIS_RETURN_IF_ERROR(CheckInvariance(shape));
  return Wait();
}

// A row alone, among a few and among all must have the same bits, wherever it stands.
Status CudaBackend::CheckInvariance(const Shape& shape) {
  const size_t n = shape.n;
  const size_t k = shape.k;
  const DType dtype = shape.dtype;
  const size_t max_rows = shape.max_rows;
  const size_t in_bytes = k * ElementBytes(dtype);  // of a row
  const size_t out_bytes = n * sizeof(float);
  PRECIS_ASSIGN_OR_RETURN(const DeviceMemory w, Allocate(n * in_bytes));
  PRECIS_ASSIGN_OR_RETURN(const DeviceMemory in, Allocate(max_rows * in_bytes));
  PRECIS_ASSIGN_OR_RETURN(const DeviceMemory out, Allocate(max_rows * out_bytes));
  const std::vector<std::byte> weights = Rounded(ArbitraryFloats(n * k), dtype);
  Upload(weights.data(), weights.size(), w.data());
  std::vector<size_t> rows;
  for (const size_t some : {size_t{1}, size_t{3}, size_t{16}}) {
    if (some < max_rows) rows.push_back(some);
  }
  rows.push_back(max_rows);
  const auto run = [&](size_t i, bool accumulate, const void* from, float* to) {
    Upload(from, rows[i] * in_bytes, in.data());
    if (accumulate) Upload(to, rows[i] * out_bytes, out.data());
    if (!Failed()) {
      Note(gemm_->Gemm({in.data(), dtype, rows[i], k}, w.data(), n, accumulate,
                       reinterpret_cast<float*>(out.data()), stream_));
    }
    Download(out.data(), rows[i] * out_bytes, to);
  };
  const std::vector<bool> same = FindInvariantBuckets({n, k, dtype}, rows, run);
  PRECIS_RETURN_IF_ERROR(failure_);
  const auto other = std::ranges::find(same, false);
  if (other == same.end()) return OkStatus();
  return Internal(fmt::format(
      "the CUDA GEMM of {} x {} in {} gives a row other bits among {} rows than among others", n, k,
      DTypeName(dtype), rows[static_cast<size_t>(other - same.begin())]));
}

}  // namespace precis::cuda
