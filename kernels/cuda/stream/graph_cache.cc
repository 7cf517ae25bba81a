#include "kernels/cuda/stream/graph_cache.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/log.h"

namespace precis::cuda {
namespace {

// Decode steps differ in their bucket of rows, in whether rows have several chunks of keys, and in
// what is asked of their scores. Each executable takes memory of the device.
constexpr size_t kMostExecutables = 32;
constexpr size_t kMostSeen = 128;
// A capture may fail by chance, as when a kernel must still be loaded; one that fails again and
// again costs more than it gains.
constexpr uint32_t kMostFailures = 4;

struct OwnedGraph {
  ~OwnedGraph() {
    if (graph != nullptr) cudaGraphDestroy(graph);
  }
  cudaGraph_t graph = nullptr;
};

// A call's error is the call's: cudaGetLastError() shall not tell it again.
Status Told(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return DeviceStatus(error);
}

// Thread-local: what other threads ask of the device is no affair of this capture.
Status Capture(const StreamWork& work, cudaStream_t stream, cudaGraph_t* graph) {
  PRECIS_RETURN_IF_ERROR(Told(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)));
  const Status issued = work.Issue(stream);
  const Status launched = Told(cudaGetLastError());
  const Status ended = Told(cudaStreamEndCapture(stream, graph));  // whatever came of it
  PRECIS_RETURN_IF_ERROR(issued);
  PRECIS_RETURN_IF_ERROR(launched);
  return ended;
}

}  // namespace

GraphCache::GraphCache() : failures_left_(kMostFailures) {
  executables_.reserve(kMostExecutables);
  seen_.reserve(kMostSeen);
}

void GraphCache::Clear() {
  for (const Executable& e : executables_) cudaGraphExecDestroy(e.exec);
  executables_.clear();
}

GraphCache::Executable* GraphCache::Find(uint64_t shape) {
  const auto at = std::ranges::find(executables_, shape, &Executable::shape);
  return at == executables_.end() ? nullptr : &*at;
}

bool GraphCache::WasSeen(uint64_t shape) {
  if (std::ranges::find(seen_, shape) != seen_.end()) return true;
  if (seen_.size() < kMostSeen) {
    seen_.push_back(shape);
  } else {
    seen_[next_seen_++ % kMostSeen] = shape;
  }
  return false;
}

void GraphCache::Drop(Executable* executable) {
  cudaGraphExecDestroy(executable->exec);
  if (executable != &executables_.back()) *executable = std::move(executables_.back());
  executables_.pop_back();
}

StatusOr<bool> GraphCache::Launch(const StreamWork& work, cudaStream_t stream) {
  if (failures_left_ == 0) return false;
  const uint64_t shape = work.Shape();
  Executable* executable = Find(shape);
  if (executable == nullptr && !WasSeen(shape)) return false;
  if (executable == nullptr || !(executable->made_of == work)) {
    const StatusOr<Executable*> made = Make(work, shape, stream);
    if (!made.ok()) {
      if (--failures_left_ == 0) {
        spdlog::warn("cuda: no more CUDA graphs, as none could be made {} times: {}", kMostFailures,
                     std::string(made.status().message()));
        Clear();
      }
      return false;
    }
    executable = *made;
  }
  executable->last_used = ++launches_;
  PRECIS_RETURN_IF_ERROR(DeviceStatus(cudaGraphLaunch(executable->exec, stream)));
  return true;
}

// By an update where there is an executable of the shape that takes it: that costs less than
// another one.
StatusOr<GraphCache::Executable*> GraphCache::Make(const StreamWork& work, uint64_t shape,
                                                   cudaStream_t stream) {
  OwnedGraph captured;
  PRECIS_RETURN_IF_ERROR(Capture(work, stream, &captured.graph));
  if (Executable* known = Find(shape); known != nullptr) {
    cudaGraphExecUpdateResultInfo result{};
    if (Told(cudaGraphExecUpdate(known->exec, captured.graph, &result)).ok()) {
      known->made_of = work;
      return known;
    }
    Drop(known);
  }
  if (executables_.size() == kMostExecutables) {
    Drop(&*std::ranges::min_element(executables_, {}, &Executable::last_used));
  }
  cudaGraphExec_t exec = nullptr;
  PRECIS_RETURN_IF_ERROR(Told(cudaGraphInstantiate(&exec, captured.graph, 0)));
  executables_.push_back({shape, work, exec, launches_});
  return &executables_.back();
}

}  // namespace precis::cuda
