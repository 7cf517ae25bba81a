// Fork-join and read bandwidth with OpenMP. Reading is a loop of vector loads and nothing else, so
// that even the first level of cache limits it and not the arithmetic.
#include "kernels/machine_probe.h"

#include <omp.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

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
#include "kernels/cpu/isa/dispatch.h"

namespace precis {
namespace {

HWY_EXPORT(ReadAll);

constexpr uint64_t kReadUnit = 1024;               // bytes; a share is a multiple
constexpr uint64_t kHugePage = uint64_t{2} << 20;  // bytes
// Of a thread between two looks at the clock: a fraction of a millisecond, so that some rounds are
// not interrupted, and more than the caches of a core hold, so that a large set is not read from
// them.
constexpr uint64_t kBytesARound = uint64_t{16} << 20;

uint64_t ShareOf(uint64_t bytes, uint32_t threads) {
  return std::max<uint64_t>(bytes / threads / kReadUnit, 1) * kReadUnit;
}

// Memory of its own for every thread, in large pages where the system gives them, touched first by
// the thread that reads it.
class CpuReadProbe final : public ReadProbe {
 public:
  CpuReadProbe(uint32_t threads, std::byte* base, uint64_t stride)
      : threads_(threads), base_(base), stride_(stride) {
#pragma omp parallel num_threads(threads_)
    std::memset(OfThread(), 1, stride_);
  }
  CpuReadProbe(const CpuReadProbe&) = delete;
  CpuReadProbe& operator=(const CpuReadProbe&) = delete;
  ~CpuReadProbe() override { munmap(base_, stride_ * threads_); }

  double Rate(uint64_t working_set_bytes, double seconds) override {
    const auto read = PickTarget(HWY_DISPATCH_TABLE(ReadAll), hwy::SupportedTargets());
    const uint64_t share = std::min(ShareOf(working_set_bytes, threads_), stride_);
    // A round is some sweeps over a small share, or a part of a sweep over a large one.
    const uint64_t part = std::min(share, kBytesARound);
    const uint64_t parts = kBytesARound / part;
    double best = 0;
    uint32_t sink = 0;
#pragma omp parallel num_threads(threads_) reduction(^ : sink)
    {
      const std::byte* const data = OfThread();
      sink ^= read(data, share);
      uint64_t at = 0;
      double left = seconds;
      while (left > 0) {
#pragma omp barrier
        const double start = omp_get_wtime();
        for (uint64_t i = 0; i < parts; ++i) {
          if (at + part > share) at = 0;
          sink ^= read(data + at, part);
          at += part;
        }
#pragma omp barrier
        const double took = std::max(omp_get_wtime() - start, 1e-9);
#pragma omp single copyprivate(left)
        {
          best = std::max(best, static_cast<double>(parts * part * threads_) / took);
          left -= took;
        }
      }
    }
    const volatile uint32_t keep = sink;
    static_cast<void>(keep);
    return best;
  }

 private:
  std::byte* OfThread() const {
    return base_ + static_cast<uint64_t>(omp_get_thread_num()) * stride_;
  }

  const uint32_t threads_;
  std::byte* const base_;
  const uint64_t stride_;
};

class PinnedThreads final : public ThreadsApart {
 public:
  PinnedThreads(uint32_t threads, const cpu_set_t& all, const std::vector<int>& cpus)
      : threads_(threads), all_(all) {
#pragma omp parallel num_threads(threads_)
    {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(static_cast<size_t>(cpus[static_cast<size_t>(omp_get_thread_num())]), &one);
      sched_setaffinity(0, sizeof(one), &one);
    }
  }
  PinnedThreads(const PinnedThreads&) = delete;
  PinnedThreads& operator=(const PinnedThreads&) = delete;
  ~PinnedThreads() override {
#pragma omp parallel num_threads(threads_)
    sched_setaffinity(0, sizeof(all_), &all_);
  }

 private:
  const uint32_t threads_;
  const cpu_set_t all_;
};

}  // namespace

std::unique_ptr<ThreadsApart> KeepThreadsApart(uint32_t threads) {
  cpu_set_t all;
  CPU_ZERO(&all);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(all), &all) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<size_t>(cpu), &all)) cpus.push_back(cpu);
    }
  }
  if (threads < 2 || cpus.size() < threads) return std::make_unique<ThreadsApart>();
  return std::make_unique<PinnedThreads>(threads, all, cpus);
}

double MeasureForkJoinSeconds(uint32_t threads, double seconds) {
  if (threads <= 1) return 0;
  constexpr int kRegions = 20;
  double best = HUGE_VAL;
  const double end = omp_get_wtime() + seconds;
  do {
    const double start = omp_get_wtime();
    for (int i = 0; i < kRegions; ++i) {
#pragma omp parallel num_threads(threads)
      {
        // Something the compiler must keep.
        asm volatile("" ::: "memory");
      }
    }
    best = std::min(best, (omp_get_wtime() - start) / kRegions);
  } while (omp_get_wtime() < end);
  return best;
}

StatusOr<std::unique_ptr<ReadProbe>> MakeReadProbe(uint32_t threads, uint64_t most_bytes) {
  const uint64_t share = ShareOf(most_bytes, threads);
  const uint64_t stride = (share + kHugePage - 1) / kHugePage * kHugePage;
  void* const base =
      mmap(nullptr, stride * threads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError("no memory to measure the read bandwidth with");
  }
  madvise(base, stride * threads, MADV_HUGEPAGE);
  return std::make_unique<CpuReadProbe>(threads, static_cast<std::byte*>(base), stride);
}

}  // namespace precis
#endif  // HWY_ONCE
