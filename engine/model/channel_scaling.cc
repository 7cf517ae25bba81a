#include "engine/model/channel_scaling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "common/check.h"

namespace precis {
namespace {

// No scale leaves [2^-kMostBits, 2^kMostBits], far inside the range of float and bf16.
constexpr double kMostBits = 32;

double RowNorm(std::span<const float> row, std::span<const float> gains) {
  double sum = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    const double value = double{row[i]} * double{gains[i]};
    sum += value * value;
  }
  return std::sqrt(sum);
}

// The largest magnitude of each column of w: [?, columns].
std::vector<float> ColumnPeaks(std::span<const float> w, size_t columns) {
  std::vector<float> peaks(columns, 0.0f);
  for (size_t row = 0; row < w.size(); row += columns) {
    for (size_t c = 0; c < columns; ++c) peaks[c] = std::max(peaks[c], std::abs(w[row + c]));
  }
  return peaks;
}

// log2 of sqrt(r1 / r2) of each channel; not finite where there is none.
std::vector<double> HalfRatioBits(const HiddenChannels& channels) {
  const size_t d_model = channels.norm.size();
  const std::vector<float> peaks = ColumnPeaks(channels.output, channels.output.size() / d_model);
  std::vector<double> bits(peaks.size());
  for (size_t c = 0; c < bits.size(); ++c) {
    double log_r1 = 0;
    for (const std::span<float> w : channels.inputs) {
      log_r1 += std::log2(RowNorm(w.subspan(c * d_model, d_model), channels.norm));
    }
    bits[c] = (log_r1 - std::log2(double{peaks[c]})) / 2;
  }
  return bits;
}

}  // namespace

std::vector<float> HiddenChannelScales(const HiddenChannels& channels) {
  PRECIS_CHECK(!channels.inputs.empty() && !channels.norm.empty());
  for (const std::span<float> w : channels.inputs) {
    PRECIS_CHECK(w.size() == channels.output.size());
  }
  const std::vector<double> bits = HalfRatioBits(channels);
  double sum = 0;
  size_t count = 0;
  for (const double b : bits) {
    if (!std::isfinite(b)) continue;
    sum += b;
    ++count;
  }
  std::vector<float> scales(bits.size(), 1.0f);
  for (size_t c = 0; c < bits.size(); ++c) {
    if (!std::isfinite(bits[c])) continue;
    const double whole = std::nearbyint(bits[c] - sum / static_cast<double>(count));
    scales[c] = static_cast<float>(std::exp2(std::clamp(whole, -kMostBits, kMostBits)));
  }
  return scales;
}

void EqualizeHiddenChannels(const HiddenChannels& channels) {
  const std::vector<float> scales = HiddenChannelScales(channels);
  const size_t d_ff = scales.size();
  const size_t d_model = channels.norm.size();
  const std::span<float> last = channels.inputs.back();
  for (size_t c = 0; c < d_ff; ++c) {
    for (float& value : last.subspan(c * d_model, d_model)) value /= scales[c];
    if (!channels.bias.empty()) channels.bias[c] /= scales[c];
  }
  for (size_t i = 0; i < d_model; ++i) {
    const std::span<float> row = channels.output.subspan(i * d_ff, d_ff);
    for (size_t c = 0; c < d_ff; ++c) row[c] *= scales[c];
  }
}

}  // namespace precis
