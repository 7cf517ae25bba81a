#include "kernels/ref/ref_backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
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
  explicit RefMatrix(const MatrixToPack& from)
      : w_(from.w.begin(), from.w.end()),
        scales_(from.n, 1.0f),
        bias_(from.bias.begin(), from.bias.end()),
        n_(from.n),
        k_(from.k),
        dtype_(from.dtype) {
    if (dtype_ == DType::kBF16) {
      for (float& x : w_) x = BF16ToF32(F32ToBF16(x));
    } else if (dtype_ == DType::kI8) {
      std::vector<int8_t> rounded(w_.size());
      RoundRowsToInt8(from.w, k_, rounded, scales_);
      w_.assign(rounded.begin(), rounded.end());
    }
  }
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return (w_.size() + bias_.size()) * sizeof(float); }
  bool has_bias() const override { return !bias_.empty(); }
  const float* row(size_t i) const { return w_.data() + i * k_; }
  float scale(size_t i) const { return scales_[i]; }
  float bias(size_t i) const { return bias_.empty() ? 0.0f : bias_[i]; }

 private:
  std::vector<float> w_;
  std::vector<float> scales_;  // [n]
  std::vector<float> bias_;    // [n] or none
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

double ActivationOf(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kRelu:
      return std::max(x, 0.0);
    case ActivationKind::kGelu:
      // erfc, because 1 + erf has no digits left where x is far below 0.
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case ActivationKind::kGeluTanh:
      return GeluTanh(x);
    case ActivationKind::kSilu:
      return x / (1.0 + std::exp(-x));
  }
  return 0;
}

}  // namespace

std::string RefBackend::Describe() const { return "ref: scalar, in double, 1 thread"; }

StatusOr<std::unique_ptr<PackedMatrix>> RefBackend::Pack(const MatrixToPack& matrix) {
  PRECIS_CHECK(matrix.IsWhole());
  row_.resize(std::max(row_.size(), matrix.k));
  row_to_round_.resize(row_.size());
  rounded_row_.resize(row_.size());
  return std::make_unique<RefMatrix>(matrix);
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
    const float* position =
        p.position_table != nullptr ? p.position_table + p.positions[i] * p.d : nullptr;
    for (size_t j = 0; j < p.d; ++j) {
      const double value = double{p.scale} * LoadElement(p.table, p.table_dtype, begin + j);
      p.out[i * p.d + j] = static_cast<float>(position != nullptr ? value + position[j] : value);
    }
  }
}

void RefBackend::NormRow(const NormParams& p, size_t row) {
  const size_t n = p.out.cols;
  const float* x = p.x + row * n;
  const bool layer = p.norm.kind == NormKind::kLayer;
  double mean = 0;
  if (layer) mean = std::accumulate(x, x + n, 0.0) / static_cast<double>(n);
  double squares = 0;
  for (size_t j = 0; j < n; ++j) squares += (x[j] - mean) * (x[j] - mean);
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + p.norm.eps);
  for (size_t j = 0; j < n; ++j) {
    const double shift = layer ? p.norm.shift[j] : 0.0;
    const auto y = static_cast<float>((x[j] - mean) * scale * p.norm.gain[j] + shift);
    if (p.out.data != nullptr) StoreElement(p.out.data, p.out.dtype, row * n + j, y);
    if (p.residual != nullptr) p.residual[row * n + j] = y;
  }
}

void RefBackend::DoNorm(const NormParams& p) {
  for (size_t i = 0; i < p.out.rows; ++i) NormRow(p, i);
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
      const double dot =
          Dot(row_.data(), matrix.row(j), in.cols) * scale * matrix.scale(j) + matrix.bias(j);
      y = static_cast<float>(p.accumulate ? y + dot : dot);
    }
  }
}

void RefBackend::DoActivate(const ActivateParams& p) {
  const Activations& out = p.out;
  const size_t d_ff = out.cols;
  for (size_t i = 0; i < out.rows; ++i) {
    const float* row = p.in + i * (p.gated ? 2 * d_ff : d_ff);
    for (size_t j = 0; j < d_ff; ++j) {
      const double y = ActivationOf(p.kind, row[j]);
      StoreElement(out.data, out.dtype, i * d_ff + j,
                   static_cast<float>(p.gated ? y * row[d_ff + j] : y));
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
