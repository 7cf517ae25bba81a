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
#include "kernels/cuda/gemm/device_gemm.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/stream/graph_cache.h"
#include "kernels/cuda/stream/staging.h"
#include "kernels/cuda/stream/stream_work.h"
#include "kernels/grouping_ops.h"

namespace precis::cuda {

class CudaBackend final : public Backend, private GroupingOps {
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

  StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixToPack& matrix) override;
  Status Prepare(const BackendLimits& limits) override;

  StatusOr<DeviceMemory> Allocate(size_t bytes) override;
  std::optional<uint64_t> FreeDeviceBytes() const override;
  void Upload(const void* host, size_t bytes, void* device) override;
  void Download(const void* device, size_t bytes, void* host) override;
  Status Wait() override;

  GroupingOps* grouping_ops() override { return this; }

 private:
  void DoEmbed(const EmbedParams& p) override;
  void DoNorm(const NormParams& p) override;
  void DoGemm(const GemmParams& p) override;
  void DoActivate(const ActivateParams& p) override;
  void DoEncoderAttention(const EncoderAttentionParams& p) override;
  void DoAppendKv(const AppendKvParams& p) override;
  void DoPagedAttention(const PagedAttentionParams& p) override;
  void DoCopySlots(const CopySlotsParams& p) override;
  void DoExtractScores(const ExtractScoresParams& p) override;
  void DoKeepScores(const KeepScoresParams& p) override;
  void DoReduceScores(const ReduceScoresParams& p) override;

  // cuda_grouping.cc
  void DoSumKeySquares(const SumKeySquaresParams& p) override;
  void DoAssignHeads(const AssignHeadsParams& p) override;
  void DoSubtractNoise(const SubtractNoiseParams& p) override;

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
    std::span<ScoreReduction> reductions;  // `block`: their copies, then the room of their best
    float* values = nullptr;               // of ExtractScores; `places` are pinned
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
  void Launch(const F& launch, uint32_t variant = 0) {
    if (!work_.HasRoom(sizeof(F))) Issue();
    work_.Launch(variant, launch);
    if (!keeps_) Issue();
  }
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
  std::span<const T> Stage(std::span<const T> values) {
    const std::byte* device = staging_.Find(values.data(), values.size_bytes());
    if (device == nullptr && !values.empty()) {
      const Staging::Block block = staging_.Copy(values.data(), values.size_bytes());
      Copy(block);
      device = block.device;
    }
    return {reinterpret_cast<const T*>(device), values.size()};
  }
  // How long a table is no kernel asks, and a launch is the same while it grows.
  std::span<const int32_t> StagePages(std::span<const int32_t> pages) {
    return {Stage(pages).data(), size_t{0}};
  }
  template <typename T>
  static size_t Bytes(std::span<const T> values) {
    return Staging::BlockBytes(values.size_bytes());
  }
  const StagedPlan& PlanOf(std::span<const PagedRow> rows, const PagedRow* device);
  std::span<ScoreReduction> ReductionsOf(std::span<ScoreReduction> rows);

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
