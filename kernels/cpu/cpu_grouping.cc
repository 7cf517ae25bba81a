// What only some attention variants need, on the CPU.
#include "common/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/head_assignment.h"

namespace precis {
namespace {

// Below this many dimensions a parallel region costs more than it saves: drawing a number takes a
// few multiplications.
constexpr size_t kParallelNoise = 1 << 10;

}  // namespace

void CpuBackend::DoSumKeySquares(const SumKeySquaresParams& params) { SumKeySquaresOfRows(params); }

void CpuBackend::DoAssignHeads(const AssignHeadsParams& params) { AssignHeadsOfRows(params); }

void CpuBackend::DoSubtractNoise(const SubtractNoiseParams& p) {
  PRECIS_CHECK(p.out.rows == p.rows.size() && p.out.cols == size_t{p.num_heads} * p.head_dim &&
               p.head_dim <= limits_.head_dim);
#pragma omp parallel for num_threads(num_threads_) if (p.out.rows * p.out.cols >= kParallelNoise)
  for (size_t i = 0; i < p.rows.size(); ++i) kernels_.subtract_noise(p, i, ThreadScratch());
}

}  // namespace precis
