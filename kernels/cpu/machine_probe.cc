// Fork-join and read bandwidth with OpenMP. Reading is a loop of vector loads and nothing else, so
// that even the first level of cache limits it and not the arithmetic.
#include "kernels/machine_probe.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <memory>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/machine_probe.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The exclusive or of all words, so that no load can be left out. `bytes`: a multiple of 1024.
uint32_t ReadAll(const std::byte* data, size_t bytes) {
  const hn::ScalableTag<uint32_t> d;
  const size_t lanes = hn::Lanes(d);
  const auto* words = reinterpret_cast<const uint32_t*>(data);
  const size_t n = bytes / sizeof(uint32_t);
  auto a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0;
  for (size_t i = 0; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = hn::Xor(a0, hn::Load(d, words + i));
    a1 = hn::Xor(a1, hn::Load(d, words + i + lanes));
    a2 = hn::Xor(a2, hn::Load(d, words + i + 2 * lanes));
    a3 = hn::Xor(a3, hn::Load(d, words + i + 3 * lanes));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Xor(hn::Xor(a0, a1), hn::Xor(a2, a3))));
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/dispatch.h"

namespace precis {
namespace {

HWY_EXPORT(ReadAll);

constexpr size_t kReadUnit = 1024;             // bytes; a share is a multiple
constexpr size_t kHugePage = size_t{2} << 20;  // bytes
constexpr uint64_t kBytesARound = uint64_t{32}
                                  << 20;  // of a thread, between two looks at the clock

// Memory of its own for every thread, in large pages where the system gives them, touched first by
// the thread that reads it.
class Shares {
 public:
  static StatusOr<Shares> Make(uint32_t threads, uint64_t bytes_each) {
    Shares shares;
    shares.stride_ = (bytes_each + kHugePage - 1) / kHugePage * kHugePage;
    shares.mapped_ = shares.stride_ * threads;
    void* base =
        mmap(nullptr, shares.mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
      return absl::ResourceExhaustedError("no memory to measure the read bandwidth with");
    }
    madvise(base, shares.mapped_, MADV_HUGEPAGE);
    shares.base_ = static_cast<std::byte*>(base);
#pragma omp parallel num_threads(threads)
    {
      const auto thread = static_cast<size_t>(omp_get_thread_num());
      std::memset(shares.base_ + thread * shares.stride_, 1, shares.stride_);
    }
    return shares;
  }
  Shares(Shares&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        stride_(other.stride_),
        mapped_(other.mapped_) {}
  Shares& operator=(Shares&&) = delete;
  ~Shares() {
    if (base_ != nullptr) munmap(base_, mapped_);
  }
  const std::byte* of(size_t thread) const { return base_ + thread * stride_; }

 private:
  Shares() = default;
  std::byte* base_ = nullptr;
  size_t stride_ = 0;
  size_t mapped_ = 0;
};

// Bytes a second of the best round.
double ReadRate(uint32_t threads, uint64_t share, double seconds, const Shares& shares) {
  const auto read = PickTarget(HWY_DISPATCH_TABLE(ReadAll), hwy::SupportedTargets());
  const uint64_t sweeps = std::max<uint64_t>(1, kBytesARound / share);
  double best = 0;
  uint32_t sink = 0;
#pragma omp parallel num_threads(threads) reduction(^ : sink)
  {
    const std::byte* const data = shares.of(static_cast<size_t>(omp_get_thread_num()));
    sink ^= read(data, share);
    double left = seconds;
    while (left > 0) {
#pragma omp barrier
      const double start = omp_get_wtime();
      for (uint64_t i = 0; i < sweeps; ++i) sink ^= read(data, share);
#pragma omp barrier
      const double took = omp_get_wtime() - start;
#pragma omp single copyprivate(left)
      {
        best = std::max(best, static_cast<double>(sweeps * share * threads) / took);
        left -= took;
      }
    }
  }
  const volatile uint32_t keep = sink;
  static_cast<void>(keep);
  return best;
}

}  // namespace

double MeasureForkJoinSeconds(uint32_t threads) {
  if (threads <= 1) return 0;
  constexpr int kRegions = 100;
  constexpr double kSeconds = 0.2;
  double best = 1;
  const double end = omp_get_wtime() + kSeconds;
  while (omp_get_wtime() < end) {
    const double start = omp_get_wtime();
    for (int i = 0; i < kRegions; ++i) {
#pragma omp parallel num_threads(threads)
      {
        // Something the compiler must keep.
        asm volatile("" ::: "memory");
      }
    }
    best = std::min(best, (omp_get_wtime() - start) / kRegions);
  }
  return best;
}

StatusOr<std::vector<double>> MeasureReadRates(uint32_t threads,
                                               std::span<const uint64_t> working_sets,
                                               double seconds_each) {
  const auto share_of = [threads](uint64_t bytes) {
    return std::max<uint64_t>(bytes / threads / kReadUnit, 1) * kReadUnit;
  };
  uint64_t most = kReadUnit;
  for (const uint64_t bytes : working_sets) most = std::max(most, share_of(bytes));
  PRECIS_ASSIGN_OR_RETURN(const Shares shares, Shares::Make(threads, most));
  std::vector<double> rates;
  for (const uint64_t bytes : working_sets) {
    rates.push_back(ReadRate(threads, share_of(bytes), seconds_each, shares));
  }
  return rates;
}

}  // namespace precis
#endif  // HWY_ONCE
