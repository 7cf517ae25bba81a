#include "kernels/cpu/gemm/gemm.h"

#include <omp.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis {
namespace {

class CpuMatrix final : public PackedMatrix {
 public:
  CpuMatrix(const GemmShape& shape, GemmWeights weights, const GemmPlan* plan)
      : shape_(shape), weights_(std::move(weights)), plan_(plan) {}
  size_t n() const override { return shape_.n; }
  size_t k() const override { return shape_.k; }
  DType dtype() const override { return shape_.dtype; }
  size_t bytes() const override {
    return weights_.w.get_desc().get_size() + (shape_.bias ? shape_.n * sizeof(float) : 0);
  }
  bool has_bias() const override { return shape_.bias; }
  const GemmWeights& weights() const { return weights_; }
  const GemmPlan& plan() const { return *plan_; }

 private:
  GemmShape shape_;
  GemmWeights weights_;
  const GemmPlan* plan_;
};

}  // namespace

StatusOr<std::unique_ptr<GemmEngine>> GemmEngine::Make(uint32_t num_threads) {
  try {
    return std::unique_ptr<GemmEngine>(
        new GemmEngine(num_threads, dnnl::engine(dnnl::engine::kind::cpu, 0)));
  } catch (const dnnl::error& error) {
    return FailedPrecondition(fmt::format("oneDNN does not start: {}", error.what()));
  }
}

GemmEngine::GemmEngine(uint32_t num_threads, dnnl::engine engine)
    : num_threads_(num_threads), engine_(std::move(engine)), stream_(engine_) {}

// OpenMP keeps the number of threads for each calling thread, and oneDNN asks OpenMP.
void GemmEngine::UseThreads() const {
  if (omp_get_max_threads() != static_cast<int>(num_threads_)) {
    omp_set_num_threads(static_cast<int>(num_threads_));
  }
}

GemmWeights GemmEngine::Reorder(const MatrixToPack& matrix, const dnnl::memory::desc& to) {
  using Memory = dnnl::memory;
  const Memory::desc rows_of_w({static_cast<int64_t>(matrix.k), static_cast<int64_t>(matrix.n)},
                               Memory::data_type::f32, Memory::format_tag::ba);
  Memory from(rows_of_w, engine_, const_cast<float*>(matrix.w.data()));
  GemmWeights weights{Memory(to, engine_), {}};
  dnnl::reorder(from, weights.w).execute(stream_, from, weights.w);
  if (!matrix.bias.empty()) {
    weights.bias = Memory(GemmBiasDesc(matrix.n), engine_);
    std::ranges::copy(matrix.bias, static_cast<float*>(weights.bias.get_data_handle()));
  }
  return weights;
}

StatusOr<std::unique_ptr<PackedMatrix>> GemmEngine::Pack(const MatrixToPack& matrix) {
  PRECIS_CHECK(!prepared_ && matrix.IsWhole() && matrix.dtype != DType::kI8);
  UseThreads();
  const GemmShape shape{matrix.n, matrix.k, matrix.dtype, !matrix.bias.empty()};
  auto entry = entries_.find(shape);
  if (entry == entries_.end()) {
    StatusOr<GemmPlan> plan = GemmPlan::Make(shape, matrix.max_rows, engine_);
    if (!plan.ok()) return Annotate(plan.status(), matrix.label);
    entry = entries_.emplace(shape, Entry{*std::move(plan), {}}).first;
  }
  entry->second.plan.RaiseMaxRows(matrix.max_rows);
  try {
    GemmWeights weights = Reorder(matrix, entry->second.plan.weights_desc());
    entry->second.sample = weights;
    return std::make_unique<CpuMatrix>(shape, std::move(weights), &entry->second.plan);
  } catch (const dnnl::error& error) {
    return absl::ResourceExhaustedError(fmt::format("{}: oneDNN: {}", matrix.label, error.what()));
  }
}

Status GemmEngine::Prepare() {
  PRECIS_CHECK(!prepared_);
  UseThreads();
  for (auto& [shape, entry] : entries_) {
    PRECIS_RETURN_IF_ERROR(
        entry.plan.Prepare(engine_, stream_, entry.sample, &primitives_created_));
    entry.plan.ClaimScratch(&scratch_);
    entry.sample = {};
  }
  prepared_ = true;
  return OkStatus();
}

void GemmEngine::Run(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) {
  const auto& matrix = static_cast<const CpuMatrix&>(w);
  PRECIS_CHECK(prepared_ && in.cols == w.k() && in.dtype == w.dtype());
  UseThreads();
  matrix.plan().Run(stream_, matrix.weights(), &scratch_, in.data, in.rows, accumulate, out,
                    num_threads_);
}

std::string GemmEngine::Describe() const {
  std::set<std::string> implementations;
  size_t dropped = 0;
  for (const auto& [shape, entry] : entries_) {
    implementations.insert(entry.plan.implementations().begin(),
                           entry.plan.implementations().end());
    dropped += entry.plan.dropped_buckets().size();
  }
  std::string text = fmt::format("{}", fmt::join(implementations, ", "));
  if (dropped > 0) text += fmt::format(" ({} row buckets unused: other bits)", dropped);
  return text;
}

}  // namespace precis
