#include "engine/decoding/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/splitmix.h"

namespace precis {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

}  // namespace

// Where the best would leave float's range, what is left of the others is their distance from it:
// the best, and what is equal to it.
void Sampler::Divide(std::span<float> logits, float temperature) {
  const float top = *std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(top / temperature)) {
    for (float& logit : logits) logit -= top;
  }
  for (float& logit : logits) logit /= temperature;
}

Sampler::Sampler(uint32_t vocab_size) : values_(vocab_size), order_(vocab_size) {}

int32_t Sampler::Sample(std::span<float> logits, const GenerationOptions& options,
                        uint32_t sequence, uint32_t position) {
  Divide(logits, options.temperature);
  if (options.top_k > 0 && options.top_k < logits.size()) KeepTopK(logits, options.top_k);
  if (options.top_p < 1.0f) KeepTopP(logits, options.top_p);

  const float top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - top);
  const double target = CounterUniform(options.seed, sequence, position) * total;
  double sum = 0;
  int32_t last_possible = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == kBanned) continue;
    sum += std::exp(static_cast<double>(logits[i]) - top);
    last_possible = static_cast<int32_t>(i);
    if (sum > target) break;
  }
  return last_possible;
}

// Values equal to the k-th largest stay, as in Hugging Face's TopKLogitsWarper.
void Sampler::KeepTopK(std::span<float> logits, uint32_t k) {
  std::copy(logits.begin(), logits.end(), values_.begin());
  std::nth_element(values_.begin(), values_.begin() + (k - 1), values_.end(), std::greater<>());
  const float least = values_[k - 1];
  for (float& logit : logits) {
    if (logit < least) logit = kBanned;
  }
}

// Keeps the most probable tokens until those before hold `p` of the probability; at least one.
void Sampler::KeepTopP(std::span<float> logits, float p) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - top);
  std::iota(order_.begin(), order_.end(), 0);
  const auto more_probable = [&logits](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  // The head of the order is sorted in pieces that grow: the whole vocabulary is rarely needed.
  double before = 0;
  size_t kept = 0;
  size_t sorted = 0;
  size_t piece = 128;
  while (kept < logits.size() && (kept == 0 || before < p * total)) {
    if (kept == sorted) {
      const size_t end = std::min(logits.size(), sorted + piece);
      std::partial_sort(order_.begin() + static_cast<ptrdiff_t>(sorted),
                        order_.begin() + static_cast<ptrdiff_t>(end), order_.end(), more_probable);
      sorted = end;
      piece *= 4;
    }
    before += std::exp(static_cast<double>(logits[order_[kept++]]) - top);
  }
  for (size_t i = kept; i < logits.size(); ++i) logits[order_[i]] = kBanned;
}

}  // namespace precis
