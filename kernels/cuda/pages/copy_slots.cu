// CopySlots, copy-on-write of pages: a block a page and layer, in words; of V whole words, as
// kernels/copy_slots.h has it.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;

// `rows` runs of `words` words each, `stride` words apart.
__device__ void CopyRuns(const std::byte* from, std::byte* to, unsigned rows, unsigned words,
                         unsigned stride) {
  const auto* source = reinterpret_cast<const unsigned*>(from);
  auto* target = reinterpret_cast<unsigned*>(to);
  for (unsigned i = threadIdx.x; i < rows * words; i += kThreads) {
    const unsigned at = i / words * stride + i % words;
    target[at] = source[at];
  }
}

__global__ void __launch_bounds__(kThreads)
    CopySlotsKernel(const PageCopyRef* copies, KvPool pool, const KvRegion* layers) {
  const PageCopyRef copy = copies[blockIdx.x];
  const KvRegion r = layers[blockIdx.y];
  const std::byte* from = pool.base + static_cast<size_t>(copy.from) * pool.page_bytes;
  std::byte* to = pool.base + static_cast<size_t>(copy.to) * pool.page_bytes;
  const auto copy_runs = [&](size_t offset, size_t rows, size_t words, size_t stride) {
    CopyRuns(from + offset, to + offset, static_cast<unsigned>(rows), static_cast<unsigned>(words),
             static_cast<unsigned>(stride));
  };
  copy_runs(r.k_offset, r.num_kv_heads * r.dim_words(), copy.slots, r.slots);
  const size_t v_words = (copy.slots + r.pack() - 1) / r.pack() * r.head_dim;
  copy_runs(r.v_offset, r.num_kv_heads, v_words, r.v_head_bytes() / kKvWordBytes);
  if (r.keeps_key_squares) {
    const size_t floats = size_t{copy.slots} * r.num_kv_heads;
    copy_runs(r.key_squares_offset, 1, floats, floats);
  }
  if (r.dtype != DType::kI8) return;
  copy_runs(r.k_scale_offset, r.num_kv_heads, copy.slots, r.slots);
  copy_runs(r.v_scale_offset, r.num_kv_heads, copy.slots, r.slots);
}

}  // namespace

void CopySlots(const CopySlotsParams& p, cudaStream_t stream) {
  if (p.copies.empty() || p.layers.empty()) return;
  PRECIS_LAUNCH(CopySlotsKernel, dim3(Blocks(p.copies.size(), 1), Blocks(p.layers.size(), 1)),
                kThreads, 0, stream, p.copies.data(), p.pool, p.layers.data());
}

}  // namespace precis::cuda
