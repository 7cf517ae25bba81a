// Biases of keys and values that go elsewhere change nothing but rounding: attention is computed
// here in double, once with the biases where the checkpoint has them.
#include "engine/model/grouping/bias_folding.h"

#include <cmath>
#include <random>
#include <vector>

#include "engine/model/grouping/head_folding.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using ::testing::ElementsAre;

constexpr size_t kHeads = 4;
constexpr size_t kDim = 3;
constexpr size_t kModel = 5;
constexpr size_t kKeys = 6;
const HeadGrouping kGroups{{{0, 2}, {1, 3}}};

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (float& value : out) value = normal(random);
  return out;
}

// One query of each head over keys and values of 2 KV heads, then the output matrix.
std::vector<double> Attend(const std::vector<float>& q, const std::vector<float>& k,
                           const std::vector<float>& v, const std::vector<float>& k_bias,
                           const std::vector<float>& v_bias, const std::vector<float>& w,
                           const std::vector<float>& out_bias) {
  std::vector<double> out(out_bias.begin(), out_bias.end());
  for (size_t g = 0; g < kGroups.groups.size(); ++g) {
    for (const uint32_t head : kGroups.groups[g]) {
      std::vector<double> weights(kKeys);
      double sum = 0;
      for (size_t t = 0; t < kKeys; ++t) {
        double score = 0;
        for (size_t i = 0; i < kDim; ++i) {
          score += double{q[head * kDim + i]} * (k[(t * 2 + g) * kDim + i] + k_bias[g * kDim + i]);
        }
        sum += weights[t] = std::exp(score);
      }
      for (size_t i = 0; i < kDim; ++i) {
        double value = 0;
        for (size_t t = 0; t < kKeys; ++t) {
          value += weights[t] / sum * (v[(t * 2 + g) * kDim + i] + v_bias[g * kDim + i]);
        }
        for (size_t d = 0; d < kModel; ++d) out[d] += w[(d * kHeads + head) * kDim + i] * value;
      }
    }
  }
  return out;
}

TEST(BiasFolding, KeysLoseTheirsAndTheOutputGetsThatOfValues) {
  const auto q = Random(kHeads * kDim, 1);
  const auto k = Random(kKeys * 2 * kDim, 2);
  const auto v = Random(kKeys * 2 * kDim, 3);
  const auto k_bias = Random(2 * kDim, 4);
  const auto v_bias = Random(2 * kDim, 5);
  const auto w = Random(kModel * kHeads * kDim, 6);
  auto out_bias = Random(kModel, 7);
  const std::vector<float> none(2 * kDim, 0.0f);
  const auto want = Attend(q, k, v, k_bias, v_bias, w, out_bias);
  AddValueBias(w, kGroups, v_bias, kDim, out_bias);
  const auto got = Attend(q, k, v, none, none, w, out_bias);
  for (size_t d = 0; d < kModel; ++d) EXPECT_NEAR(got[d], want[d], 1e-5) << d;
}

TEST(BiasFolding, ABiasGoesTheWayOfItsHeads) {
  const std::vector<float> bias = {1, 2, 10, 20, 100, 200, 1000, 2000};  // 4 heads of 2
  const HeadGrouping pairs{{{0, 1}, {2, 3}}};
  EXPECT_THAT(FoldBias(bias, 2, pairs, FoldKind::kMean, {}), ElementsAre(5.5, 11, 550, 1100));
  const std::vector<float> scalar = {2, -1, 0.5, 3};
  EXPECT_THAT(FoldBias(bias, 2, pairs, FoldKind::kScalar, scalar),
              ElementsAre(-8, -16, 3050, 6100));
  const std::vector<float> column = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_THAT(FoldBias(bias, 2, pairs, FoldKind::kColumn, column),
              ElementsAre(31, 84, 7500, 17200));
  const std::vector<float> row(4 * kModel, 7.0f);
  EXPECT_THAT(FoldBias(bias, 2, pairs, FoldKind::kRow, row), ElementsAre(5.5, 11, 550, 1100))
      << "weights of inputs say nothing about a bias";
}

}  // namespace
}  // namespace precis
