#include "kernels/cpu/gemm/int8_gemm.h"

#include <omp.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/cpu/gemm/gemm_plan.h"
#include "kernels/cpu/gemm/matmul_call.h"
#include "kernels/int8_rows.h"

namespace precis {
namespace {

// Columns of a panel, at most: with a block of rows its sums are 256 KiB, a share of a core's L2.
constexpr size_t kPanelColumns = 512;
constexpr size_t kPanelAlignment = 64;
constexpr size_t kBlockRows = 128;
// Up to here every thread rounds all rows for itself, which is less than waiting for the others.
// Of a bucket of rows.
constexpr size_t kFewElements = 16 << 10;
// Sums of k products of bytes, and what is taken off them, fit into 32 bits.
constexpr size_t kMostK = (size_t{1} << 31) / (256 * 128);

bool HasVnni() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_vnni:
    case dnnl::cpu_isa::avx512_core_bf16:
    case dnnl::cpu_isa::avx512_core_amx:
      return true;
    default:
      return false;
  }
}

// OpenMP's number of threads for the calling thread, which oneDNN asks for where it makes a
// primitive.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_;
};

dnnl::matmul::primitive_desc DescribeMatmul(size_t rows, size_t k, size_t n,
                                            const dnnl::memory::desc& weights,
                                            const dnnl::engine& engine) {
  using Memory = dnnl::memory;
  const auto m = static_cast<int64_t>(rows);
  const Memory::desc src({m, static_cast<int64_t>(k)}, Memory::data_type::u8,
                         Memory::format_tag::ab);
  const Memory::desc dst({m, static_cast<int64_t>(n)}, Memory::data_type::s32,
                         Memory::format_tag::ab);
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(src, weights, dst), attr, engine);
}

}  // namespace

// The one-thread primitives of panels of one shape, one for each bucket of rows.
class Int8Gemm::Plan {
 public:
  Plan(const PanelShape& shape, const dnnl::engine& engine) : shape_(shape) {
    const dnnl::memory::desc any({static_cast<int64_t>(shape.k), static_cast<int64_t>(shape.n)},
                                 dnnl::memory::data_type::s8, dnnl::memory::format_tag::any);
    const auto desc = DescribeMatmul(kBlockRows, shape.k, shape.n, any, engine);
    weights_desc_ = desc.weights_desc();
    implementation_ = desc.impl_info_str();
  }

  // Of a whole block.
  const std::string& implementation() const { return implementation_; }
  const dnnl::memory::desc& weights_desc() const { return weights_desc_; }
  void RaiseMaxRows(size_t rows) { max_rows_ = std::max(max_rows_, std::min(rows, kBlockRows)); }
  const std::set<std::string>& implementations() const { return implementations_; }
  size_t num_primitives() const { return buckets_.size(); }

  void Prepare(const dnnl::engine& engine, uint32_t num_threads) {
    for (const size_t rows : RowBuckets(max_rows_)) {
      const auto desc = DescribeMatmul(rows, shape_.k, shape_.n, weights_desc_, engine);
      const dnnl::matmul primitive(desc);
      Bucket bucket{rows, {}};
      for (uint32_t t = 0; t < num_threads; ++t) bucket.calls.push_back({primitive, desc, engine});
      scratchpad_bytes_ = std::max(scratchpad_bytes_, desc.scratchpad_desc().get_size());
      implementations_.insert(fmt::format("int8 {}", desc.impl_info_str()));
      buckets_.push_back(std::move(bucket));
    }
  }
  // Rows that are computed where `rows` are asked for.
  size_t PaddedRows(size_t rows) const { return BucketOf(rows).rows; }
  size_t sums() const { return buckets_.back().rows * shape_.n; }
  size_t scratchpad_bytes() const { return scratchpad_bytes_; }

  // in, sums: room for PaddedRows(rows). On the calling thread, which is `thread`.
  void Multiply(const dnnl::stream& stream, const dnnl::memory& weights, size_t rows, int thread,
                const uint8_t* in, Scratch* scratch) const {
    BucketOf(rows).calls[static_cast<size_t>(thread)].Run(
        stream, {weights, {}}, scratch->scratchpad.data(), in, scratch->sums.data());
  }

 private:
  struct Bucket {
    size_t rows;
    std::vector<MatmulCall> calls;  // [num_threads]
  };

  const Bucket& BucketOf(size_t rows) const {
    const auto bucket = std::ranges::lower_bound(buckets_, rows, {}, &Bucket::rows);
    PRECIS_CHECK(bucket != buckets_.end());
    return *bucket;
  }

  PanelShape shape_;
  dnnl::memory::desc weights_desc_;
  std::string implementation_;
  size_t max_rows_ = 0;
  std::vector<Bucket> buckets_;
  size_t scratchpad_bytes_ = 0;
  std::set<std::string> implementations_;
};

class Int8Gemm::Matrix final : public PackedMatrix {
 public:
  struct Panel {
    size_t first_column;
    size_t columns;
    dnnl::memory weights;
    const Plan* plan;
  };

  explicit Matrix(const MatrixToPack& from)
      : n_(from.n),
        k_(from.k),
        scales_(n_),
        zero_point_sums_(n_),
        bias_(from.bias.begin(), from.bias.end()) {}
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return DType::kI8; }
  size_t bytes() const override {
    size_t bytes = n_ * (sizeof(float) + sizeof(int32_t)) + bias_.size() * sizeof(float);
    for (const Panel& panel : panels_) bytes += panel.weights.get_desc().get_size();
    return bytes;
  }
  bool has_bias() const override { return !bias_.empty(); }
  const std::vector<Panel>& panels() const { return panels_; }
  Int8Columns columns(size_t first) const {
    return {scales_.data() + first, zero_point_sums_.data() + first,
            has_bias() ? bias_.data() + first : nullptr};
  }

  // Rounds `w` into its columns' scales and `values`, [n, k].
  void Round(std::span<const float> w, std::vector<int8_t>* values) {
    values->resize(w.size());
    RoundRowsToInt8(w, k_, *values, scales_);
    for (size_t i = 0; i < n_; ++i) {
      int32_t sum = 0;
      for (size_t j = 0; j < k_; ++j) sum += (*values)[i * k_ + j];
      zero_point_sums_[i] = kInt8ZeroPoint * sum;
    }
  }
  void Add(Panel panel) { panels_.push_back(std::move(panel)); }

 private:
  const size_t n_;
  const size_t k_;
  std::vector<float> scales_;             // [n]
  std::vector<int32_t> zero_point_sums_;  // [n]
  std::vector<float> bias_;               // [n] or none
  std::vector<Panel> panels_;
};

Int8Gemm::Int8Gemm(uint32_t num_threads, const CpuKernels& kernels)
    : num_threads_(num_threads),
      kernels_(kernels),
      engine_(dnnl::engine::kind::cpu, 0),
      stream_(engine_) {}

Int8Gemm::~Int8Gemm() = default;

StatusOr<Int8Gemm::Plan*> Int8Gemm::PlanOf(const PanelShape& shape, size_t max_rows) {
  auto found = plans_.find(shape);
  if (found == plans_.end()) {
    found = plans_.emplace(shape, std::make_unique<Plan>(shape, engine_)).first;
  }
  Plan* const plan = found->second.get();
  if (IsSlowGemm(shape.n, shape.k, plan->implementation())) {
    return InvalidArgument("oneDNN has no fast int8 GEMM for this CPU and ISA");
  }
  plan->RaiseMaxRows(max_rows);
  return plan;
}

StatusOr<std::unique_ptr<PackedMatrix>> Int8Gemm::Pack(const MatrixToPack& from) {
  PRECIS_CHECK(scratch_.empty() && from.IsWhole());
  const size_t n = from.n;
  const size_t k = from.k;
  if (!HasVnni()) {
    return InvalidArgument(fmt::format(
        "{}: int8 weights need a CPU with AVX512-VNNI, and an isa that has it", from.label));
  }
  if (k > kMostK) {
    return InvalidArgument(
        fmt::format("{}: int8 weights have {} inputs at most, not {}", from.label, kMostK, k));
  }
  const OneThread one_thread;
  auto matrix = std::make_unique<Matrix>(from);
  std::vector<int8_t> values;
  matrix->Round(from.w, &values);
  // As many panels as every thread gets the same number of, where the matrix is wide enough.
  const size_t turns = CeilDiv(n, kPanelColumns * num_threads_);
  const size_t columns =
      CeilDiv(CeilDiv(n, turns * num_threads_), kPanelAlignment) * kPanelAlignment;
  try {
    for (size_t first = 0; first < n; first += columns) {
      const size_t count = std::min(columns, n - first);
      StatusOr<Plan*> plan = PlanOf({count, k}, from.max_rows);
      if (!plan.ok()) return Annotate(plan.status(), from.label);
      using Memory = dnnl::memory;
      Memory rows({{static_cast<int64_t>(k), static_cast<int64_t>(count)},
                   Memory::data_type::s8,
                   Memory::format_tag::ba},
                  engine_, values.data() + first * k);
      Memory to((*plan)->weights_desc(), engine_);
      dnnl::reorder(rows, to).execute(stream_, rows, to);
      matrix->Add({first, count, std::move(to), *plan});
    }
  } catch (const dnnl::error& error) {
    return absl::ResourceExhaustedError(fmt::format("{}: oneDNN: {}", from.label, error.what()));
  }
  max_rows_ = std::max(max_rows_, from.max_rows);
  max_k_ = std::max(max_k_, k);
  return matrix;
}

Status Int8Gemm::Prepare() {
  if (plans_.empty()) return OkStatus();
  const OneThread one_thread;
  size_t sums = 0;
  size_t scratchpad_bytes = 0;
  try {
    for (const auto& [shape, plan] : plans_) {
      plan->Prepare(engine_, num_threads_);
      primitives_created_ += plan->num_primitives();
      sums = std::max(sums, plan->sums());
      scratchpad_bytes = std::max(scratchpad_bytes, plan->scratchpad_bytes());
    }
  } catch (const dnnl::error& error) {
    return Internal(fmt::format("oneDNN: {} (int8)", error.what()));
  }
  rows_.resize((max_rows_ + kBlockRows) * max_k_);
  scales_.resize(max_rows_);
  scratch_.resize(num_threads_);
  for (Scratch& scratch : scratch_) {
    scratch.rows.resize(kFewElements);
    scratch.scales.resize(kBlockRows);
    scratch.sums.resize(sums);
    scratch.scratchpad.resize(scratchpad_bytes);
  }
  return OkStatus();
}

void Int8Gemm::RunPanel(const Matrix& w, size_t panel, size_t rows, const uint8_t* in,
                        const float* scales, bool accumulate, float* out) {
  const int thread = omp_get_thread_num();
  Scratch& scratch = scratch_[static_cast<size_t>(thread)];
  const Matrix::Panel& p = w.panels()[panel];
  p.plan->Multiply(stream_, p.weights, rows, thread, in, &scratch);
  for (size_t i = 0; i < rows; ++i) {
    kernels_.scale_sums(&scratch.sums[i * p.columns], w.columns(p.first_column), scales[i],
                        accumulate, p.columns, out + i * w.n() + p.first_column);
  }
}

void Int8Gemm::RunFewRows(const Activations& in, const Matrix& w, bool accumulate, float* out) {
  const size_t k = in.cols;
  const auto* from = static_cast<const std::byte*>(in.data);
#pragma omp parallel num_threads(num_threads_)
  {
    Scratch& scratch = scratch_[static_cast<size_t>(omp_get_thread_num())];
    for (size_t i = 0; i < in.rows; ++i) {
      scratch.scales[i] = kernels_.round_row(from + i * k * ElementBytes(in.dtype), in.dtype, k,
                                             &scratch.rows[i * k]);
    }
#pragma omp for schedule(static)
    for (size_t p = 0; p < w.panels().size(); ++p) {
      RunPanel(w, p, in.rows, scratch.rows.data(), scratch.scales.data(), accumulate, out);
    }
  }
}

void Int8Gemm::RunManyRows(const Activations& in, const Matrix& w, bool accumulate, float* out) {
  const size_t k = in.cols;
  const size_t blocks = CeilDiv(in.rows, kBlockRows);
  const auto* from = static_cast<const std::byte*>(in.data);
#pragma omp parallel num_threads(num_threads_)
  {
#pragma omp for schedule(static)
    for (size_t i = 0; i < in.rows; ++i) {
      scales_[i] =
          kernels_.round_row(from + i * k * ElementBytes(in.dtype), in.dtype, k, &rows_[i * k]);
    }
    // Blocks of a panel lie beside each other: its weights stay in the thread's L2.
#pragma omp for schedule(static)
    for (size_t item = 0; item < w.panels().size() * blocks; ++item) {
      const size_t first = item % blocks * kBlockRows;
      RunPanel(w, item / blocks, std::min(kBlockRows, in.rows - first), &rows_[first * k],
               &scales_[first], accumulate, out + first * w.n());
    }
  }
}

void Int8Gemm::Run(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) {
  const auto& matrix = static_cast<const Matrix&>(w);
  PRECIS_CHECK(!scratch_.empty() && in.cols == w.k() && in.rows <= max_rows_);
  const Plan& plan = *matrix.panels().front().plan;
  if (in.rows <= kBlockRows && plan.PaddedRows(in.rows) * in.cols <= kFewElements) {
    RunFewRows(in, matrix, accumulate, out);
  } else {
    RunManyRows(in, matrix, accumulate, out);
  }
}

std::string Int8Gemm::Describe() const {
  std::set<std::string> implementations;
  for (const auto& [shape, plan] : plans_) {
    implementations.insert(plan->implementations().begin(), plan->implementations().end());
  }
  return fmt::format("{}", fmt::join(implementations, ", "));
}

}  // namespace precis
