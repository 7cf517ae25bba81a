#include "kernels/ref/ref_backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"
#include "kernels/copy_slots.h"
#include "kernels/int8_rows.h"
#include "kernels/ref/elements.h"

namespace precis {
namespace {

// Kept as f32, rounded to the asked type once; in int8 without the scales.
class RefMatrix final : public PackedMatrix {
 public:
  RefMatrix(std::span<const float> w, size_t n, size_t k, DType dtype)
      : w_(w.begin(), w.end()), scales_(n, 1.0f), n_(n), k_(k), dtype_(dtype) {
    if (dtype == DType::kBF16) {
      for (float& x : w_) x = BF16ToF32(F32ToBF16(x));
    } else if (dtype == DType::kI8) {
      std::vector<int8_t> rounded(w.size());
      RoundRowsToInt8(w, k, rounded, scales_);
      w_.assign(rounded.begin(), rounded.end());
    }
  }
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return w_.size() * sizeof(float); }
  const float* row(size_t i) const { return w_.data() + i * k_; }
  float scale(size_t i) const { return scales_[i]; }

 private:
  std::vector<float> w_;
  std::vector<float> scales_;  // [n]
  size_t n_;
  size_t k_;
  DType dtype_;
};

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

void AddToSum(std::span<const float> scores, ScoreReduction* row) {
  const float max = std::max(row->max, *std::ranges::max_element(scores));
  if (max == kImpossible) return;
  row->sum *= std::exp(static_cast<double>(row->max) - max);
  row->max = max;
  for (const float score : scores) row->sum += std::exp(static_cast<double>(score) - max);
}

// Tokens come in ascending order, so one of an equal score goes behind.
void KeepIfAmongBest(const TokenScore& next, ScoreReduction* row) {
  if (row->num_best < row->best.size()) {
    ++row->num_best;
  } else if (!(next.score > row->best.back().score)) {
    return;
  }
  size_t at = row->num_best - 1;
  for (; at > 0 && row->best[at - 1].score < next.score; --at) row->best[at] = row->best[at - 1];
  row->best[at] = next;
}

double GeluTanh(double x) {
  const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + std::tanh(inner));
}

}  // namespace

std::string RefBackend::Describe() const { return "ref: scalar, in double, 1 thread"; }

StatusOr<std::unique_ptr<PackedMatrix>> RefBackend::Pack(std::string_view /*label*/,
                                                         std::span<const float> w, size_t n,
                                                         size_t k, DType dtype, size_t max_rows) {
  PRECIS_CHECK(w.size() == n * k && n > 0 && k > 0 && max_rows > 0);
  row_.resize(std::max(row_.size(), k));
  row_to_round_.resize(row_.size());
  rounded_row_.resize(row_.size());
  return std::make_unique<RefMatrix>(w, n, k, dtype);
}

Status RefBackend::Prepare(const BackendLimits& limits) {
  scores_.resize(std::max(limits.max_source_tokens, limits.max_target_tokens));
  sums_.resize(limits.head_dim);
  rounded_head_.resize(limits.head_dim);
  return OkStatus();
}

void RefBackend::DoEmbed(const EmbedParams& p) {
  for (size_t i = 0; i < p.ids.size(); ++i) {
    const size_t begin = static_cast<size_t>(p.ids[i]) * p.d;
    for (size_t j = 0; j < p.d; ++j) {
      p.out[i * p.d + j] = LoadElement(p.table, p.table_dtype, begin + j);
    }
  }
}

void RefBackend::DoRmsNorm(const RmsNormParams& p) {
  const Activations& out = p.out;
  const float* x = p.x;
  for (size_t i = 0; i < out.rows; ++i, x += out.cols) {
    double sum = 0;
    for (size_t j = 0; j < out.cols; ++j) sum += static_cast<double>(x[j]) * x[j];
    const double scale = 1.0 / std::sqrt(sum / static_cast<double>(out.cols) + p.eps);
    for (size_t j = 0; j < out.cols; ++j) {
      StoreElement(out.data, out.dtype, i * out.cols + j,
                   static_cast<float>(x[j] * scale * p.gain[j]));
    }
  }
}

double RefBackend::LoadRow(const Activations& in, size_t row, DType weights) {
  const size_t k = in.cols;
  for (size_t j = 0; j < k; ++j) row_[j] = LoadElement(in.data, in.dtype, row * k + j);
  if (weights != DType::kI8) return 1.0;
  std::copy_n(row_.begin(), k, row_to_round_.begin());
  const float scale = RoundRowToInt8(row_to_round_.data(), k, rounded_row_.data(), 1);
  std::copy_n(rounded_row_.begin(), k, row_.begin());
  return scale;
}

void RefBackend::DoGemm(const GemmParams& p) {
  const Activations& in = p.in;
  const PackedMatrix& w = p.w;
  const auto& matrix = static_cast<const RefMatrix&>(w);
  PRECIS_CHECK(in.cols == w.k() &&
               (w.dtype() == DType::kI8 || in.dtype == activation_dtype(w.dtype())));
  for (size_t i = 0; i < in.rows; ++i) {
    const double scale = LoadRow(in, i, w.dtype());
    for (size_t j = 0; j < w.n(); ++j) {
      float& y = p.out[i * w.n() + j];
      const double dot = Dot(row_.data(), matrix.row(j), in.cols) * scale * matrix.scale(j);
      y = static_cast<float>(p.accumulate ? y + dot : dot);
    }
  }
}

void RefBackend::DoActivate(const ActivateParams& p) {
  const Activations& out = p.out;
  const bool gated = p.kind == ActivationKind::kGatedGelu;
  const size_t d_ff = out.cols;
  for (size_t i = 0; i < out.rows; ++i) {
    const float* row = p.in + i * (gated ? 2 * d_ff : d_ff);
    for (size_t j = 0; j < d_ff; ++j) {
      const double y = gated ? GeluTanh(row[j]) * row[d_ff + j] : std::max(row[j], 0.0f);
      StoreElement(out.data, out.dtype, i * d_ff + j, static_cast<float>(y));
    }
  }
}

void RefBackend::DoReduceScores(const ReduceScoresParams& p) {
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const std::span<const float> scores(p.scores + i * p.count, p.count);
    const auto nan = std::ranges::find_if(scores, [](float score) { return std::isnan(score); });
    if (nan != scores.end()) p.rows[i].max = *nan;
    if (p.rows[i].wants_sum && !std::isnan(p.rows[i].max)) AddToSum(scores, &p.rows[i]);
    for (size_t j = 0; j < p.count; ++j) {
      if (scores[j] > kImpossible) {
        KeepIfAmongBest({scores[j], p.first_token + static_cast<int32_t>(j)}, &p.rows[i]);
      }
    }
  }
}

void RefBackend::DoCopySlots(const CopySlotsParams& params) {
  for (const PageCopyRef& copy : params.copies) CopyPageSlots(params.pool, params.layers, copy);
}

StatusOr<std::unique_ptr<Backend>> MakeRefBackend() { return std::make_unique<RefBackend>(); }

}  // namespace precis
