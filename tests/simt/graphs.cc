// CUDA graphs of the emulated runtime: by the rules of cuda_runtime_api.h of CUDA 13.
#include <algorithm>
#include <utility>

#include "tests/simt/runtime_state.h"

namespace precis::simt {
namespace {

// Its error is that of the call, and cudaStreamEndCapture() tells of it again.
cudaError_t Invalidate(cudaStream_t stream) {
  stream->capture = CaptureState::kInvalidated;
  return Told(cudaErrorStreamCaptureUnsupported);
}

cudaGraphExecUpdateResult Compare(const std::vector<Piece>& before,
                                  const std::vector<Piece>& after) {
  if (before.size() != after.size()) return cudaGraphExecUpdateErrorTopologyChanged;
  for (size_t i = 0; i < before.size(); ++i) {
    const PieceKind a = before[i].kind;
    const PieceKind b = after[i].kind;
    if (a == b) continue;  // another kernel may take its place since CUDA 11.2
    const auto copies = [](PieceKind kind) {
      return kind == PieceKind::kCopyToDevice || kind == PieceKind::kCopyToHost;
    };
    return copies(a) && copies(b) ? cudaGraphExecUpdateErrorParametersChanged
                                  : cudaGraphExecUpdateErrorNodeTypeChanged;
  }
  return cudaGraphExecUpdateSuccess;
}

}  // namespace

cudaError_t RefuseWhileCapturing() {
  for (cudaStream_t stream : TheRuntime().streams) {
    const bool of_this_thread = stream->captured_by == std::this_thread::get_id();
    if (stream->capture == CaptureState::kNone || stream->mode == cudaStreamCaptureModeRelaxed) {
      continue;
    }
    if (of_this_thread || stream->mode == cudaStreamCaptureModeGlobal) return Invalidate(stream);
  }
  return cudaSuccess;
}

cudaError_t RefuseIfCaptured(cudaStream_t stream) {
  return stream->capture == CaptureState::kNone ? cudaSuccess : Invalidate(stream);
}

cudaError_t MayAdd(cudaStream_t stream) {
  return stream->capture == CaptureState::kInvalidated ? cudaErrorStreamCaptureInvalidated
                                                       : cudaSuccess;
}

}  // namespace precis::simt

using precis::simt::CaptureState;
using precis::simt::TheRuntime;
using precis::simt::Told;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  if (stream == nullptr) return Told(cudaErrorStreamCaptureUnsupported);
  if (stream->capture != CaptureState::kNone) return Told(cudaErrorIllegalState);
  stream->capture = CaptureState::kActive;
  stream->mode = mode;
  stream->captured_by = std::this_thread::get_id();
  ++r.counts.captures;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  auto& r = TheRuntime();
  *graph = nullptr;
  if (stream->capture == CaptureState::kNone) return Told(cudaErrorIllegalState);
  if (stream->mode != cudaStreamCaptureModeRelaxed &&
      stream->captured_by != std::this_thread::get_id()) {
    return Told(cudaErrorStreamCaptureWrongThread);
  }
  const CaptureState state = std::exchange(stream->capture, CaptureState::kNone);
  precis_emulated_graph captured = std::exchange(stream->captured, {});
  if (r.sticky != cudaSuccess) return r.sticky;
  if (state == CaptureState::kInvalidated || r.faults.captures-- <= 0) {
    return Told(cudaErrorStreamCaptureInvalidated);
  }
  *graph = new precis_emulated_graph(std::move(captured));
  ++r.counts.graphs;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  if (graph == nullptr) return Told(cudaErrorInvalidValue);
  if (r.faults.instantiations-- <= 0) return Told(cudaErrorMemoryAllocation);
  *exec = new precis_emulated_graph_exec{graph->nodes};
  ++r.counts.instantiations;
  ++r.counts.executables;
  return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo* result) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  *result = {precis::simt::Compare(exec->nodes, graph->nodes), nullptr, nullptr};
  if (result->result == cudaGraphExecUpdateSuccess && r.faults.updates-- <= 0) {
    result->result = cudaGraphExecUpdateErrorNotSupported;
  }
  if (result->result != cudaGraphExecUpdateSuccess) {
    ++r.counts.refused_updates;
    return Told(cudaErrorGraphExecUpdateFailure);
  }
  exec->nodes = graph->nodes;
  ++r.counts.updates;
  return cudaSuccess;
}

// Each node is a piece of work of its own, and may be the one that fails.
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  if (r.faults.graph_launches-- <= 0) return Told(cudaErrorInvalidValue);
  ++r.counts.graph_launches;
  for (const precis::simt::Piece& node : exec->nodes) {
    precis::simt::Enqueue(stream, node.kind, node.kernel, node.work);
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  --TheRuntime().counts.graphs;
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  --TheRuntime().counts.executables;
  delete exec;
  return cudaSuccess;
}
