// One fault at a time, for the sanitizers to find: planted NAME. tests/simt/CMakeLists.txt says
// what each must report.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/launch.h"

namespace precis::simt {
namespace {

enum class Sync { kNone, kWarp, kBlock };

// kPartner 1: in the same warp; 33: in another.
template <unsigned kPartner, Sync kSync, unsigned kPast = 0>
void TakeFromPartner(float* out, unsigned past_out) {
  __shared__ float values[64];
  values[threadIdx.x + kPast] = static_cast<float>(threadIdx.x);
  if (kSync == Sync::kWarp) __syncwarp();
  if (kSync == Sync::kBlock) __syncthreads();
  out[threadIdx.x + past_out] = values[threadIdx.x ^ kPartner];
}

void FillDynamic(float* out, unsigned past) {
  PRECIS_DYNAMIC_SHARED(float, shared);
  shared[threadIdx.x + past] = 1.0f;
  out[threadIdx.x] = shared[threadIdx.x];
}

void Run(void (*kernel)(float*, unsigned), unsigned past) {
  auto* out = static_cast<float*>(std::malloc(64 * sizeof(float)));
  PRECIS_LAUNCH(kernel, 2, 64, 64 * sizeof(float), nullptr, out, past);
  std::free(out);
}

struct Case {
  const char* name;
  void (*kernel)(float*, unsigned);
  unsigned past;
};

constexpr Case kCases[] = {
    {"other_warp_without_barrier", TakeFromPartner<33, Sync::kNone>, 0},
    {"other_warp_with_syncwarp", TakeFromPartner<33, Sync::kWarp>, 0},
    {"other_warp_with_barrier", TakeFromPartner<33, Sync::kBlock>, 0},
    {"same_warp_without_syncwarp", TakeFromPartner<1, Sync::kNone>, 0},
    {"same_warp_with_syncwarp", TakeFromPartner<1, Sync::kWarp>, 0},
    {"no_overrun", FillDynamic, 0},
    {"shared_overrun", TakeFromPartner<1, Sync::kBlock, 1>, 0},
    {"dynamic_shared_overrun", FillDynamic, 1},
    {"global_overrun", TakeFromPartner<1, Sync::kBlock>, 1},
};

}  // namespace
}  // namespace precis::simt

int main(int argc, char** argv) {
  for (const auto& c : precis::simt::kCases) {
    if (argc != 2 || std::strcmp(argv[1], c.name) != 0) continue;
    precis::simt::Run(c.kernel, c.past);
    std::puts("ended");
    return 0;
  }
  std::puts("usage: planted NAME");
  return 2;
}
