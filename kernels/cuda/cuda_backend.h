// A CUDA device as a Backend: ops are launches on one stream, and what the host says in an op or
// gets from it passes through pinned memory. What follows an Embed(), a batch's first op, is kept
// until Wait() and then launched as one CUDA graph, unless encoder attention is among it: that is
// work enough for the device to begin at once.
//
// Owner and thread rule: as Backend.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/device_gemm.h"
#include "kernels/cuda/graph_cache.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/staging.h"
#include "kernels/cuda/stream_work.h"

namespace precis::cuda {

class CudaBackend final : public Backend {
 public:
  // UNAVAILABLE, with CUDA's name of the error, when the device gives no stream.
  static StatusOr<std::unique_ptr<CudaBackend>> Make(std::unique_ptr<DeviceGemm> gemm,
                                                     const BackendOptions& options,
                                                     std::string device);
  ~CudaBackend() override;

  std::string_view name() const override { return "cuda"; }
  std::string Describe() const override;
  std::string_view isa() const override { return "cuda"; }
  uint32_t num_threads() const override { return 1; }
  DType activation_dtype(DType weights) const override { return weights; }

  StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::string_view label, std::span<const float> w,
                                               size_t n, size_t k, DType dtype,
                                               size_t max_rows) override;
  Status Prepare(const BackendLimits& limits) override;

  StatusOr<DeviceMemory> Allocate(size_t bytes) override;
  std::optional<uint64_t> FreeDeviceBytes() const override;
  void Upload(const void* host, size_t bytes, void* device) override;
  void Download(const void* device, size_t bytes, void* host) override;
  Status Wait() override;

  void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
             float* out) override;
  void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) override;
  void Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) override;
  void Activate(ActivationKind kind, const float* in, const Activations& out) override;
  void EncoderAttention(const EncoderAttentionParams& params) override;
  void AppendKv(const AppendKvParams& params) override;
  void PagedAttention(const PagedAttentionParams& params) override;
  void CopySlots(const CopySlotsParams& params) override;
  void SumKeySquares(const SumKeySquaresParams& params) override;
  void DealHeads(const DealHeadsParams& params) override;
  void SubtractNoise(const SubtractNoiseParams& params) override;
  void ExtractScores(const ExtractScoresParams& params) override;
  void KeepScores(const KeepScoresParams& params) override;
  void SummarizeScores(const SummarizeScoresParams& params) override;

 private:
  struct Shape {
    size_t n, k;
    DType dtype;
    size_t max_rows;
    auto operator<=>(const Shape&) const = default;
  };
  // A plan of paged attention, of rows that lie at `rows` on the device.
  struct StagedPlan {
    const PagedRow* rows;
    PagedWork work;
    uint32_t most_rows;  // of an item
  };
  // What the device gives to the host in Wait(): one of three.
  struct Answer {
    Staging::Block block;
    std::span<ScoreSummary> summaries;  // `block`: their copies, then the room of their best
    float* values = nullptr;            // of ExtractScores; `places` are pinned
    std::span<const ScorePlace> places;
    KeepScoresParams kept{};  // its rows are pinned
  };

  CudaBackend(std::unique_ptr<DeviceGemm> gemm, std::string device, bool graphs)
      : gemm_(std::move(gemm)), device_(std::move(device)), graphs_(graphs) {}

  bool Failed() const { return !failure_.ok(); }
  void Note(const Status& status) {
    if (failure_.ok()) failure_ = status;
  }
  void Note(cudaError_t error) {
    if (error != cudaSuccess) Note(DeviceStatus(error));
  }
  Status CheckInvariance(const Shape& shape);

  // launch(stream), when it is issued; see StreamWork.
  template <typename F>
  void Launch(const F& launch, uint32_t variant = 0);
  void Copy(const Staging::Block& block);
  // What is kept goes to the stream as it is, or as a graph if that can be.
  void Issue();
  void IssueAsGraph();

  // Makes room in `staging_`: what is not there any more afterwards are all blocks of the step.
  void MakeRoom(size_t bytes);
  static size_t StepBytes(const BackendLimits& limits);
  template <typename Op>
  void ForParts(size_t count, size_t each, const Op& op);
  void ExtractPart(const ExtractScoresParams& params);
  void KeepPart(const KeepScoresParams& params);
  void FetchAnswers();
  void Deliver(const Answer& answer);
  template <typename T>
  std::span<const T> StageConstant(std::span<const T> values);
  template <typename T>
  std::span<const T> Stage(std::span<const T> values);
  // How long a table is no kernel asks, and a launch is the same while it grows.
  std::span<const int32_t> StagePages(std::span<const int32_t> pages) {
    return {Stage(pages).data(), size_t{0}};
  }
  template <typename T>
  static size_t Bytes(std::span<const T> values) {
    return Staging::BlockBytes(values.size_bytes());
  }
  const StagedPlan& PlanOf(std::span<const PagedRow> rows, const PagedRow* device);
  std::span<ScoreSummary> SummariesOf(std::span<ScoreSummary> rows);

  const std::unique_ptr<DeviceGemm> gemm_;
  const std::string device_;
  cudaStream_t stream_ = nullptr;
  const bool graphs_;
  bool keeps_ = false;  // what is launched is kept
  StreamWork work_;
  GraphCache graph_cache_;
  Status failure_;  // the first
  std::vector<Shape> shapes_;
  Staging staging_;   // of a step
  Staging constant_;  // what never changes: head groups, the pages' layout
  DeviceMemory partials_;
  PagedPlan plan_;
  std::vector<StagedPlan> plans_;
  std::vector<Answer> answers_;
};

// What the device lacks is seen in ops, and told by Wait(). device: what Describe() says of it.
StatusOr<std::unique_ptr<Backend>> MakeCudaBackendWith(std::unique_ptr<DeviceGemm> gemm,
                                                       const BackendOptions& options = {},
                                                       std::string device = "a CUDA device");

}  // namespace precis::cuda
