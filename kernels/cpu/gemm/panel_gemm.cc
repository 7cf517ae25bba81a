#include "kernels/cpu/gemm/panel_gemm.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/int8_rows.h"

namespace precis {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kStepBytes = kGemmPanelColumns * kGemmStepBytes;
// Up to here every thread rounds all rows for itself, which is less than waiting for the others.
constexpr size_t kFewBytes = 8 << 10;
// The same of values of rows that are made, which takes longer.
constexpr size_t kFewMade = 2 << 10;
// Rows that a tile has at best; fewer are not worth sharing out.
constexpr size_t kTileRows = 8;
// Sums of k products of bytes, and what is taken off them, fit into 32 bits.
constexpr size_t kMostInt8K = (size_t{1} << 31) / (256 * 128);

constexpr size_t PadToLine(size_t bytes) { return CeilDiv(bytes, kLine) * kLine; }

}  // namespace

class PanelGemm::Matrix final : public PackedMatrix {
 public:
  Matrix(size_t index, const MatrixToPack& from)
      : index_(index),
        n_(from.n),
        k_(from.k),
        dtype_(from.dtype),
        steps_(CeilDiv(k_ * ElementBytes(dtype_), kGemmStepBytes)) {
    if (!from.bias.empty()) {
      bias_.resize(num_panels() * kGemmPanelColumns);
      std::ranges::copy(from.bias, bias_.begin());
    }
    if (dtype_ == DType::kI8) {
      scales_.resize(num_panels() * kGemmPanelColumns);
      starts_.resize(num_panels() * kGemmPanelColumns);
    }
  }
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return panels_bytes() + bias_.size() * sizeof(float); }
  bool has_bias() const override { return !bias_.empty(); }

  size_t index() const { return index_; }  // among all that were packed
  size_t steps() const { return steps_; }
  size_t num_panels() const { return CeilDiv(n_, kGemmPanelColumns); }
  size_t panel_bytes() const { return steps_ * kStepBytes; }
  size_t panels_bytes() const { return num_panels() * panel_bytes(); }
  const uint8_t* panels() const { return panels_; }
  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }
  const float* scales() const { return scales_.data(); }
  const int32_t* starts() const { return starts_.data(); }

  // Zeros, of panels_bytes().
  void SetPanels(std::byte* panels) { panels_ = reinterpret_cast<uint8_t*>(panels); }
  // Column `column` of the product is `row` of w.
  void Pack(size_t column, const float* row) {
    return dtype_ == DType::kI8 ? PackInt8(column, row) : PackBf16(column, row);
  }

 private:
  // Writes step s of a column.
  void Write(size_t column, size_t s, const void* from) {
    const size_t panel = column / kGemmPanelColumns * panel_bytes();
    const size_t at = s * kStepBytes + column % kGemmPanelColumns * kGemmStepBytes;
    std::memcpy(panels_ + panel + at, from, kGemmStepBytes);
  }
  void PackBf16(size_t column, const float* row) {
    for (size_t s = 0; s < steps_; ++s) {
      const size_t i = 2 * s;
      const uint16_t pair[2] = {F32ToBF16(row[i]), i + 1 < k_ ? F32ToBF16(row[i + 1]) : uint16_t{}};
      Write(column, s, pair);
    }
  }
  void PackInt8(size_t column, const float* row) {
    std::vector<int8_t> values(steps_ * kGemmStepBytes);
    scales_[column] = RoundRowToInt8(row, k_, values.data(), 1);
    int32_t sum = 0;
    for (const int8_t value : values) sum += value;
    starts_[column] = -kInt8ZeroPoint * sum;
    for (size_t s = 0; s < steps_; ++s) Write(column, s, &values[s * kGemmStepBytes]);
  }

  const size_t index_;
  const size_t n_;
  const size_t k_;
  const DType dtype_;
  const size_t steps_;
  uint8_t* panels_ = nullptr;    // [num_panels, steps, kGemmPanelColumns, kGemmStepBytes]
  std::vector<float> bias_;      // [num_panels * kGemmPanelColumns], or none
  std::vector<float> scales_;    // of int8: likewise
  std::vector<int32_t> starts_;  // likewise
};

PanelGemm::PanelGemm(uint32_t num_threads, const CpuKernels& kernels)
    : num_threads_(num_threads), kernels_(kernels) {}

bool PanelGemm::Takes(DType dtype, size_t k) const {
  if (dtype == DType::kBF16) return kernels_.multiply_panels_bf16 != nullptr;
  return dtype == DType::kI8 && kernels_.multiply_panels_int8 != nullptr && k <= kMostInt8K;
}

StatusOr<std::unique_ptr<PackedMatrix>> PanelGemm::Pack(const MatrixToPack& from) {
  PRECIS_CHECK(Takes(from.dtype, from.k) && from.IsWhole() && shared_.rows.empty());
  auto matrix = std::make_unique<Matrix>(followers_.size(), from);
  StatusOr<std::byte*> panels = memory_.Claim(matrix->panels_bytes());
  if (!panels.ok()) return Annotate(panels.status(), from.label);
  matrix->SetPanels(*panels);
#pragma omp parallel for num_threads(num_threads_)
  for (size_t i = 0; i < from.n; ++i) matrix->Pack(i, from.w.data() + i * from.k);
  dtypes_.insert(from.dtype);
  followers_.emplace_back();
  max_rows_ = std::max(max_rows_, from.max_rows);
  max_k_ = std::max(max_k_, from.k);
  most_bytes_ = std::max(most_bytes_, from.max_rows * PadToLine(matrix->steps() * kGemmStepBytes));
  return matrix;
}

void PanelGemm::Prepare() {
  if (dtypes_.empty()) return;
  shared_ = {std::vector<uint8_t>(most_bytes_), std::vector<float>(max_rows_), {}};
  // Rows are a cache line at least.
  own_.assign(num_threads_, {std::vector<uint8_t>(kFewBytes), std::vector<float>(kFewBytes / kLine),
                             std::vector<std::byte>(max_k_ * sizeof(float))});
}

bool PanelGemm::Has(const PackedMatrix& w) { return dynamic_cast<const Matrix*>(&w) != nullptr; }

// Makes row i of `rows`, padded to `stride` bytes, from `in` or, where there is a maker, by that,
// `made` being a row's memory of the calling thread.
void PanelGemm::TakeRow(const RowMaker* maker, const Activations& in, DType weights, size_t i,
                        size_t stride, std::byte* made, Rows* rows) const {
  const size_t bytes = in.cols * ElementBytes(in.dtype);
  const auto* from = static_cast<const std::byte*>(in.data) + i * bytes;
  uint8_t* const to = &rows->rows[i * stride];
  if (weights == DType::kI8) {
    if (maker != nullptr) {
      maker->Make(i, {made, in.dtype, 1, in.cols});
      from = made;
    }
    rows->scales[i] = kernels_.round_row(from, in.dtype, in.cols, to);
    return;
  }
  if (maker != nullptr) {
    maker->Make(i, {to, in.dtype, 1, in.cols});
  } else {
    std::memcpy(to, from, bytes);
  }
  std::memset(to + bytes, 0, stride - bytes);
}

// Notes that `w` is multiplied now, and says what probably comes after it.
PanelGemm::Place PanelGemm::Foresee(const Matrix& w) {
  followers_[last_] = {w.panels(), w.num_panels(), w.panel_bytes()};
  last_ = w.index();
  return followers_[last_];
}

// Each thread has all rows and a share of the panels; where there are fewer panels than threads,
// rows are shared out as well.
void PanelGemm::RunShare(const Matrix& w, const Place& next, PanelTask task) const {
  const auto threads = static_cast<size_t>(omp_get_num_threads());
  const auto thread = static_cast<size_t>(omp_get_thread_num());
  const size_t row_parts =
      std::min(CeilDiv(task.num_rows, kTileRows), std::max<size_t>(threads / w.num_panels(), 1));
  const size_t parts = threads / row_parts;
  const size_t part = thread / row_parts;
  if (part >= parts) return;
  const size_t first_row = task.num_rows * (thread % row_parts) / row_parts;
  const size_t end_row = task.num_rows * (thread % row_parts + 1) / row_parts;
  const size_t first = w.num_panels() * part / parts;
  const size_t end = w.num_panels() * (part + 1) / parts;
  if (first == end) return;
  const size_t column = first * kGemmPanelColumns;
  task.rows += first_row * task.row_stride;
  task.num_rows = end_row - first_row;
  task.panels = w.panels() + first * w.panel_bytes();
  task.num_panels = end - first;
  // The same thread's share of it, where it has the threads that this one has.
  if (next.panels != nullptr) {
    task.next = next.panels + next.num_panels * part / parts * next.panel_bytes;
  }
  task.out += first_row * task.out_stride + column;
  task.num_columns = std::min(w.n(), end * kGemmPanelColumns) - column;
  if (w.bias() != nullptr) task.bias = w.bias() + column;
  if (w.dtype() == DType::kBF16) return kernels_.multiply_panels_bf16(task);
  task.row_scales += first_row;
  task.column_scales = w.scales() + column;
  task.starts = w.starts() + column;
  kernels_.multiply_panels_int8(task);
}

void PanelGemm::Run(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) {
  RunRows(nullptr, in, static_cast<const Matrix&>(w), accumulate, out);
}

void PanelGemm::RunOf(const RowMaker& maker, const Activations& in, const PackedMatrix& w,
                      bool accumulate, float* out) {
  RunRows(&maker, in, static_cast<const Matrix&>(w), accumulate, out);
}

void PanelGemm::RunRows(const RowMaker* maker, const Activations& in, const Matrix& w,
                        bool accumulate, float* out) {
  PRECIS_CHECK(!own_.empty() && in.cols == w.k() && in.rows <= max_rows_);
  PRECIS_CHECK(w.dtype() == DType::kI8 || in.dtype == DType::kBF16);
  if (in.rows == 0) return;
  const size_t row_bytes = w.steps() * kGemmStepBytes;
  const bool as_they_are =
      maker == nullptr && w.dtype() == DType::kBF16 && in.cols * sizeof(uint16_t) == row_bytes;
  const size_t stride = as_they_are ? row_bytes : PadToLine(row_bytes);
  const Place next = Foresee(w);
  const bool few = in.rows * stride <= kFewBytes &&
                   (maker == nullptr || in.rows == 1 || in.rows * in.cols <= kFewMade);
#pragma omp parallel num_threads(num_threads_)
  {
    Rows& own = own_[static_cast<size_t>(omp_get_thread_num())];
    Rows& rows = few ? own : shared_;
    if (as_they_are) {
      // Nothing to make.
    } else if (few) {
      for (size_t i = 0; i < in.rows; ++i) {
        TakeRow(maker, in, w.dtype(), i, stride, own.made.data(), &rows);
      }
    } else {
#pragma omp for schedule(static)
      for (size_t i = 0; i < in.rows; ++i) {
        TakeRow(maker, in, w.dtype(), i, stride, own.made.data(), &rows);
      }
    }
    RunShare(w, next,
             {.rows = as_they_are ? static_cast<const uint8_t*>(in.data) : rows.rows.data(),
              .row_stride = stride,
              .num_rows = in.rows,
              .panels = nullptr,
              .num_panels = 0,
              .steps = w.steps(),
              .next = nullptr,
              .out = out,
              .out_stride = w.n(),
              .num_columns = 0,
              .accumulate = accumulate,
              .bias = nullptr,
              .row_scales = rows.scales.data(),
              .column_scales = nullptr,
              .starts = nullptr});
  }
}

std::string PanelGemm::Describe() const {
  std::vector<std::string_view> names;
  for (const DType dtype : dtypes_) names.push_back(DTypeName(dtype));
  return names.empty() ? "" : fmt::format("{} in panels", fmt::join(names, ", "));
}

}  // namespace precis
