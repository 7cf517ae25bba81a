// Evens out the hidden channels of a feed-forward, so that one scale a row loses none of them in
// int8: cross-layer equalization, Nagel et al. 2019, "Data-Free Quantization Through Weight
// Equalization and Bias Correction", by powers of two.
// Called by the weight loader, before any cast. Thread rule: functions, no state.
#pragma once

#include <span>
#include <vector>

#include "kernels/row_kinds.h"

namespace precis {

// Whether a factor s > 0 of a channel's last input matrix passes the activation as it is:
// max(0, s x) = s max(0, x), and gelu(gate) * (s up) = s (gelu(gate) * up). Without a gate gelu and
// silu bend; their channels cannot be evened out.
constexpr bool PassesFactors(ActivationKind kind, bool gated) {
  return gated || kind == ActivationKind::kRelu;
}

// The matrices of one feed-forward whose activation passes factors, row-major, of finite values.
struct HiddenChannels {
  std::span<const float> norm;           // [d_model], the gains of the rows that come in
  std::vector<std::span<float>> inputs;  // wi, or wi_0 (gate) and wi_1 (up): [d_ff, d_model] each
  std::span<float> output;               // wo: [d_model, d_ff]
  std::span<float> bias = {};            // [d_ff], of the last input, or empty
};

// s = sqrt(r1 / r2) of each channel, divided by the geometric mean of all and rounded to a power of
// two: r1, the product of the norms of its rows of `inputs` with the gains, which is how large the
// channel gets on rows that favour no direction; r2, the largest magnitude of its column of
// `output`. 1 where either is zero. [d_ff]
std::vector<float> HiddenChannelScales(const HiddenChannels& channels);

// Divides the last of `inputs` by HiddenChannelScales() and multiplies `output`: the network stays
// the same, to the bit where no number leaves float's normal range.
void EqualizeHiddenChannels(const HiddenChannels& channels);

}  // namespace precis
