// What is asked of a stream, kept until it is issued: copies to the device, then launches in their
// order. What is kept can be issued once more, captured into a CUDA graph, and compared with what
// another graph was made of.
//
// Owner: the CUDA backend. Thread rule: the thread that has the stream.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/status.h"
#include "kernels/cuda/stream/staging.h"

namespace precis::cuda {

// With CUDA's name of the error; OK of cudaSuccess.
Status DeviceStatus(cudaError_t error, std::string_view what = "the CUDA device failed",
                    absl::StatusCode code = absl::StatusCode::kInternal);

class StreamWork {
 public:
  StreamWork();  // claims all its room

  bool empty() const { return launches_.empty() && copies_.empty(); }
  // For one copy and a launch whose function has `bytes`.
  bool HasRoom(size_t bytes) const;

  // A block goes to the device before all launches. Nothing that is kept reads or writes it earlier
  // than the launch that is added next.
  void Copy(const Staging::Block& block);

  // launch(stream): void, cudaError_t or Status. It is kept as bytes, which must say all that it
  // does. `variant`: what work of one shape has in common beside the function.
  template <typename F>
  void Launch(uint32_t variant, const F& launch) {
    static_assert(std::is_trivially_copyable_v<F> && alignof(F) <= kAlignment);
    std::byte* at = Append(&Run<F>, variant, sizeof(F));
    [[maybe_unused]] const F* kept = ::new (at) F(launch);
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    // Else equal launches may differ: a graph is updated then that could have stayed.
    __builtin_clear_padding(const_cast<F*>(kept));
#endif
#endif
  }

  // The first error of a call; what a kernel's launch lacks is told by cudaGetLastError().
  Status Issue(cudaStream_t stream) const;
  void Clear();

  // A hash of what the nodes of a graph depend on: which launches in which order, how many copies.
  uint64_t Shape() const;
  // To the last argument.
  bool operator==(const StreamWork& other) const;

 private:
  using Runner = Status (*)(const std::byte* launch, cudaStream_t stream);
  struct Header {
    Runner run;
    uint32_t variant;
    uint32_t bytes;  // of the function behind it, padded
  };
  struct Range {
    std::byte* host;
    std::byte* device;
    size_t bytes;
    bool operator==(const Range&) const = default;
  };
  static constexpr size_t kAlignment = 16;
  static_assert(sizeof(Header) == kAlignment);

  template <typename F>
  static Status Run(const std::byte* launch, cudaStream_t stream) {
    const F& f = *std::launder(reinterpret_cast<const F*>(launch));
    using Result = std::invoke_result_t<const F&, cudaStream_t>;
    if constexpr (std::is_void_v<Result>) {
      f(stream);
      return OkStatus();
    } else if constexpr (std::is_same_v<Result, cudaError_t>) {
      return DeviceStatus(f(stream));
    } else {
      return f(stream);
    }
  }
  // Zeros for the function.
  std::byte* Append(Runner run, uint32_t variant, size_t bytes);
  template <typename Visit>
  void ForLaunches(const Visit& visit) const;

  std::vector<Range> copies_;
  std::vector<std::byte> launches_;  // each a header and a function
};

}  // namespace precis::cuda
