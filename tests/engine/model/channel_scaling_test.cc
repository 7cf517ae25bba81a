#include "engine/model/channel_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using ::testing::Each;

constexpr size_t kModel = 12, kHidden = 10;

struct FeedForwardValues {
  explicit FeedForwardValues(size_t num_inputs) {
    std::mt19937 rng(7);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>* values, size_t count) {
      values->resize(count);
      for (float& value : *values) value = normal(rng);
    };
    fill(&norm, kModel);
    inputs.resize(num_inputs);
    for (auto& w : inputs) fill(&w, kHidden * kModel);
    fill(&output, kModel * kHidden);
    fill(&bias, kHidden);
    fill(&x, kModel);
  }

  HiddenChannels channels() {
    HiddenChannels out{norm, {}, output, bias};
    for (auto& w : inputs) out.inputs.emplace_back(w);
    return out;
  }

  // Of every number but the gains only the sign is left: all channels are alike.
  void MakeEven() {
    for (auto& w : inputs) {
      for (float& value : w) value = std::copysign(1.0f, value);
    }
    for (float& value : output) value = std::copysign(1.0f, value);
  }

  // Makes channel c `factor` times what it is, and undoes it behind the activation.
  void Raise(size_t c, float factor) {
    for (size_t i = 0; i < kModel; ++i) {
      inputs.back()[c * kModel + i] *= factor;
      output[i * kHidden + c] /= factor;
    }
    bias[c] *= factor;
  }

  std::vector<float> Run() const {
    std::vector<float> y(kModel, 0.0f);
    for (size_t c = 0; c < kHidden; ++c) {
      const auto product = [&](const std::vector<float>& w) {
        float sum = 0;
        for (size_t i = 0; i < kModel; ++i) sum += w[c * kModel + i] * (x[i] * norm[i]);
        return sum;
      };
      const float last = product(inputs.back()) + bias[c];
      const float hidden =
          inputs.size() == 1 ? std::max(last, 0.0f) : std::tanh(product(inputs.front())) * last;
      for (size_t i = 0; i < kModel; ++i) y[i] += output[i * kHidden + c] * hidden;
    }
    return y;
  }

  std::vector<float> norm, output, bias, x;  // bias: of the last input
  std::vector<std::vector<float>> inputs;
};

TEST(EqualizeHiddenChannels, LeavesTheNetworkAsItIsToTheBit) {
  for (const size_t num_inputs : {1u, 2u}) {
    FeedForwardValues values(num_inputs);
    values.Raise(3, 128.0f);
    values.Raise(7, 1.0f / 64);
    const std::vector<float> before = values.Run();
    const std::vector<float> output_before = values.output;
    EqualizeHiddenChannels(values.channels());
    EXPECT_NE(values.output, output_before);
    EXPECT_EQ(values.Run(), before) << num_inputs << " inputs";
  }
}

// By the formulas of kernels/row_kinds.h.
double Activated(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kRelu:
      return std::max(x, 0.0);
    case ActivationKind::kGelu:
      return x * (1 + std::erf(x / std::sqrt(2.0))) / 2;
    case ActivationKind::kGeluTanh:
      return x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))) / 2;
    case ActivationKind::kSilu:
      return x / (1 + std::exp(-x));
  }
  return 0;
}

TEST(PassesFactors, IsSoWhereAFactorCommutesWithTheActivation) {
  for (const ActivationKind kind : {ActivationKind::kRelu, ActivationKind::kGelu,
                                    ActivationKind::kGeluTanh, ActivationKind::kSilu}) {
    bool plain = true;
    for (const double x : {-2.0, -0.5, 0.5, 2.0}) {
      plain = plain && std::abs(Activated(kind, 4 * x) - 4 * Activated(kind, x)) < 1e-12;
    }
    EXPECT_EQ(PassesFactors(kind, /*gated=*/false), plain) << static_cast<int>(kind);
    EXPECT_TRUE(PassesFactors(kind, /*gated=*/true)) << "the factor is that of the other input";
  }
}

TEST(HiddenChannelScales, FindsTheChannelsThatStandOut) {
  for (const size_t num_inputs : {1u, 2u}) {
    FeedForwardValues even(num_inputs);
    even.MakeEven();
    EXPECT_THAT(HiddenChannelScales(even.channels()), Each(1.0f));
    FeedForwardValues raised = even;
    raised.Raise(2, 64.0f);
    raised.Raise(5, 1.0f / 64);
    std::vector<float> want(kHidden, 1.0f);
    want[2] = 64.0f;
    want[5] = 1.0f / 64;
    EXPECT_EQ(HiddenChannelScales(raised.channels()), want);
    EqualizeHiddenChannels(raised.channels());
    EXPECT_EQ(raised.inputs, even.inputs);
    EXPECT_EQ(raised.output, even.output);
  }
}

TEST(HiddenChannelScales, LeaveDeadChannelsAlone) {
  FeedForwardValues values(1);
  for (size_t i = 0; i < kModel; ++i) {
    values.inputs[0][0 * kModel + i] = 0;
    values.output[i * kHidden + 1] = 0;
  }
  values.Raise(5, 64.0f);
  const std::vector<float> scales = HiddenChannelScales(values.channels());
  EXPECT_EQ(scales[0], 1.0f);
  EXPECT_EQ(scales[1], 1.0f);
  // A channel without a scale takes no part in the mean of the others.
  EXPECT_GE(scales[5], 16.0f);
  EXPECT_LT(*std::ranges::min_element(scales), 1.0f);
}

TEST(HiddenChannelScales, OfANetworkWithoutLivingChannelsAreOne) {
  FeedForwardValues values(2);
  std::ranges::fill(values.output, 0.0f);
  EXPECT_THAT(HiddenChannelScales(values.channels()), Each(1.0f));
}

TEST(HiddenChannelScales, StayWithinTheRangeOfFloat) {
  FeedForwardValues values(2);
  for (size_t i = 0; i < kModel; ++i) {
    values.inputs[0][4 * kModel + i] = values.inputs[1][4 * kModel + i] = 1e37f;
    values.output[i * kHidden + 4] = 1e-40f;
  }
  // 2^170 by the formula, which no float holds.
  EXPECT_EQ(HiddenChannelScales(values.channels())[4], 0x1p32f);
  EqualizeHiddenChannels(values.channels());
  for (const float value : values.output) EXPECT_TRUE(std::isfinite(value));
  for (const float value : values.inputs[1]) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace precis
