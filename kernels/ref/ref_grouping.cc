// The head variants' ops of the oracle.
#include <cmath>

#include "common/check.h"
#include "kernels/head_assignment.h"
#include "kernels/ref/elements.h"
#include "kernels/ref/ref_backend.h"
#include "kernels/splitmix.h"

namespace precis {
namespace {

struct Statistics {
  double mean;
  double deviation;  // with divisor n - 1; 0 of a single value
};

template <typename At>
Statistics StatisticsOf(size_t n, const At& at) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += at(i);
  const double mean = sum / static_cast<double>(n);
  double squares = 0;
  for (size_t i = 0; i < n; ++i) squares += (at(i) - mean) * (at(i) - mean);
  return {mean, n > 1 ? std::sqrt(squares / static_cast<double>(n - 1)) : 0.0};
}

}  // namespace

void RefBackend::DoSumKeySquares(const SumKeySquaresParams& params) { SumKeySquaresOfRows(params); }

void RefBackend::DoAssignHeads(const AssignHeadsParams& params) { AssignHeadsOfRows(params); }

void RefBackend::DoSubtractNoise(const SubtractNoiseParams& p) {
  PRECIS_CHECK(p.out.rows == p.rows.size() && p.out.cols == size_t{p.num_heads} * p.head_dim);
  for (size_t i = 0; i < p.rows.size(); ++i) {
    for (uint32_t head = 0; head < p.num_heads; ++head) {
      const size_t begin = i * p.out.cols + size_t{head} * p.head_dim;
      const uint32_t place = head % p.group_size;
      const uint64_t chain = NoiseChain(p.rows[i].seed, p.layer, p.kind, head, p.rows[i].position);
      const auto noise = [&](size_t e) -> double {
        return e == place ? 0.0 : NoiseUniform(chain, static_cast<uint32_t>(e));
      };
      const auto x = [&](size_t e) -> double { return p.x[begin + e]; };
      const Statistics of_noise = StatisticsOf(p.head_dim, noise);
      const Statistics of_x = StatisticsOf(p.head_dim, x);
      const double scale = of_noise.deviation == 0 ? 1.0 : of_noise.deviation;
      for (size_t e = 0; e < p.head_dim; ++e) {
        const double z = (noise(e) - of_noise.mean) / scale;
        StoreElement(p.out.data, p.out.dtype, begin + e,
                     static_cast<float>(x(e) - (z * of_x.deviation + of_x.mean)));
      }
    }
  }
}

}  // namespace precis
