// How much encoder work a step may hold beside its decode rows, so that running streams keep their
// pace: a share of a decode step's time, in the microseconds of a cost model that is corrected by
// what its predictions turned out to be worth (longer documents than those it was fitted on, a busy
// machine).
//
// Owner: the engine loop. Thread rule: the step thread. Depends on what it receives and nothing
// else.
#pragma once

#include <algorithm>
#include <cmath>

namespace precis {

class EncodePace {
 public:
  explicit EncodePace(double budget) : budget_(budget) {}

  // An infinite budget: documents first, whatever decodes.
  bool Unlimited() const { return std::isinf(budget_); }

  // Predicted microseconds of encoder work for a step that decodes. 0 until a step has decoded.
  double BudgetMicroseconds() const {
    if (Unlimited()) return budget_;
    // Late ones are what a reader notices: the error's spread counts as well as its mean.
    return budget_ * decode_us_ / (error_ + 2 * spread_);
  }

  // A step with decode rows; `predicted_us` of encoder work in it took `encode_us`.
  void Observe(double decode_us, double predicted_us, double encode_us) {
    // Quick to fall and slow to rise: what encoding does to decoding (its data leave the caches)
    // must not make room for more of it.
    const double weight = decode_us > decode_us_ ? kSlow : kFast;
    decode_us_ = decode_us_ == 0 ? decode_us : decode_us_ + weight * (decode_us - decode_us_);
    if (predicted_us <= 0) return;
    const double error = std::clamp(encode_us / predicted_us, kLeast, kMost);
    spread_ += kFast * (std::abs(error - error_) - spread_);
    error_ += kFast * (error - error_);
  }

 private:
  static constexpr double kFast = 0.1;
  static constexpr double kSlow = 0.01;
  static constexpr double kLeast = 0.1;
  static constexpr double kMost = 10;

  const double budget_;
  double decode_us_ = 0;  // of a step's decode part, nearer to its quick ones than to the mean
  double error_ = 1;      // moving average of measured : predicted
  double spread_ = 0;     // and of its distance from that
};

}  // namespace precis
