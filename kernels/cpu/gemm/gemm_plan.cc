#include "kernels/cpu/gemm/gemm_plan.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Above this, buckets are 64 rows apart: what is left over is a small share of the work, and every
// bucket must be made and compared at load (at 512 rows a third of the time of steps of 16).
constexpr size_t kFineRows = 128;
// From here on rows are split into a whole bucket and a rest instead of being padded: reading the
// weights twice then costs less than copying rows to and fro.
constexpr size_t kSplitRows = 128;
// Matrices so small that a slow implementation does no harm.
constexpr size_t kTinyElements = 4096;
[[maybe_unused]] constexpr size_t kParallelCopyBytes = 256 << 10;

dnnl::memory::data_type DnnlType(DType dtype) {
  return dtype == DType::kBF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::matmul::primitive_desc Describe(const GemmShape& shape, size_t rows,
                                      const dnnl::memory::desc& weights, bool accumulate,
                                      const dnnl::engine& engine) {
  using Tag = dnnl::memory::format_tag;
  const auto m = static_cast<int64_t>(rows);
  const auto n = static_cast<int64_t>(shape.n);
  const auto k = static_cast<int64_t>(shape.k);
  const dnnl::memory::desc src({m, k}, DnnlType(shape.dtype), Tag::ab);
  const dnnl::memory::desc dst({m, n}, dnnl::memory::data_type::f32, Tag::ab);
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  if (!shape.bias) {
    return dnnl::matmul::primitive_desc(dnnl::matmul::desc(src, weights, dst), attr, engine);
  }
  const dnnl::memory::desc bias = GemmBiasDesc(shape.n);
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(src, weights, bias, dst), attr, engine);
}

void CopyRows(void* to, const void* from, size_t bytes, [[maybe_unused]] uint32_t num_threads) {
  constexpr size_t kPiece = 64 << 10;
  const auto pieces = static_cast<int64_t>((bytes + kPiece - 1) / kPiece);
#pragma omp parallel for num_threads(num_threads) if (bytes >= kParallelCopyBytes)
  for (int64_t i = 0; i < pieces; ++i) {
    const size_t begin = static_cast<size_t>(i) * kPiece;
    std::memcpy(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin,
                std::min(kPiece, bytes - begin));
  }
}

}  // namespace

bool IsSlowGemm(size_t n, size_t k, std::string_view implementation) {
  return implementation.find("ref") != std::string_view::npos && n * k > kTinyElements;
}

dnnl::memory::desc GemmBiasDesc(size_t n) {
  return {{1, static_cast<int64_t>(n)}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab};
}

std::vector<size_t> RowBuckets(size_t max_rows) {
  std::vector<size_t> buckets;
  for (size_t rows = 1; rows <= 8; rows *= 2) {
    buckets.push_back(rows);
    if (rows >= max_rows) return buckets;
  }
  for (size_t rows = 16; buckets.back() < max_rows; rows += rows < kFineRows ? 16 : 64) {
    buckets.push_back(rows);
  }
  return buckets;
}

StatusOr<GemmPlan> GemmPlan::Make(const GemmShape& shape, size_t max_rows,
                                  const dnnl::engine& engine) {
  GemmPlan plan;
  plan.shape_ = shape;
  plan.max_rows_ = max_rows;
  const dnnl::memory::desc any({static_cast<int64_t>(shape.k), static_cast<int64_t>(shape.n)},
                               DnnlType(shape.dtype), dnnl::memory::format_tag::any);
  try {
    const auto desc = Describe(shape, RowBuckets(max_rows).back(), any, false, engine);
    if (!IsSlowGemm(shape.n, shape.k, desc.impl_info_str())) {
      plan.weights_desc_ = desc.weights_desc();
      return plan;
    }
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_out_of_memory) return absl::ResourceExhaustedError(error.what());
  }
  return InvalidArgument(
      fmt::format("oneDNN has no fast {} GEMM for this CPU and ISA", DTypeName(shape.dtype)));
}

// False when oneDNN can do this number of rows only slowly, or only with another weight layout:
// another bucket then serves.
StatusOr<bool> GemmPlan::MakeBucket(size_t rows, const dnnl::engine& engine, Bucket* bucket) {
  bucket->rows = rows;
  for (const bool accumulate : {false, true}) {
    try {
      const auto desc = Describe(shape_, rows, weights_desc_, accumulate, engine);
      if (IsSlowGemm(shape_.n, shape_.k, desc.impl_info_str())) return false;
      bucket->calls[accumulate] = MatmulCall(dnnl::matmul(desc), desc, engine);
      implementations_.insert(fmt::format("{} {}", DTypeName(shape_.dtype), desc.impl_info_str()));
    } catch (const dnnl::error& error) {
      if (error.status == dnnl_unimplemented) return false;
      return Internal(fmt::format("oneDNN: {} ({} rows, n {}, k {}, {})", error.what(), rows,
                                  shape_.n, shape_.k, DTypeName(shape_.dtype)));
    }
  }
  return true;
}

Status GemmPlan::Prepare(const dnnl::engine& engine, const dnnl::stream& stream,
                         const GemmWeights& weights, uint64_t* primitives_created) {
  for (const size_t rows : RowBuckets(max_rows_)) {
    Bucket bucket;
    PRECIS_ASSIGN_OR_RETURN(const bool usable, MakeBucket(rows, engine, &bucket));
    if (!usable) {
      dropped_buckets_.push_back(rows);
      continue;
    }
    *primitives_created += bucket.calls.size();
    buckets_.push_back(std::move(bucket));
  }
  if (buckets_.empty()) {
    return InvalidArgument(fmt::format("oneDNN has no {} GEMM for n {}, k {}",
                                       DTypeName(shape_.dtype), shape_.n, shape_.k));
  }
  KeepInvariantBuckets(stream, weights);
  ChooseBuckets();
  return OkStatus();
}

void GemmPlan::KeepInvariantBuckets(const dnnl::stream& stream, const GemmWeights& weights) {
  std::vector<size_t> rows;
  size_t scratchpad_bytes = 0;
  for (const Bucket& bucket : buckets_) {
    rows.push_back(bucket.rows);
    for (const MatmulCall& call : bucket.calls) {
      scratchpad_bytes = std::max(scratchpad_bytes, call.scratchpad_bytes());
    }
  }
  std::vector<std::byte> scratchpad(scratchpad_bytes);
  const std::vector<bool> keep = FindInvariantBuckets(
      shape_, rows, [&](size_t i, bool accumulate, const void* in, float* out) {
        buckets_[i].calls[accumulate].Run(stream, weights, scratchpad.data(), in, out);
      });
  std::vector<Bucket> kept;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (keep[i]) {
      kept.push_back(std::move(buckets_[i]));
    } else {
      dropped_buckets_.push_back(rows[i]);
    }
  }
  buckets_ = std::move(kept);
  PRECIS_CHECK(!buckets_.empty());
}

void GemmPlan::ChooseBuckets() {
  choice_.assign(max_rows_ + 1, 0);
  for (size_t rows = 1; rows <= max_rows_; ++rows) {
    const auto ceil = std::ranges::find_if(buckets_, [&](auto& b) { return b.rows >= rows; });
    const bool has_ceil = ceil != buckets_.end();
    auto index = static_cast<uint32_t>(ceil - buckets_.begin());
    const bool exact = has_ceil && ceil->rows == rows;
    const bool has_floor = index > 0;
    if (!exact && has_floor && (!has_ceil || rows > kSplitRows)) --index;
    choice_[rows] = index;
  }
}

void GemmPlan::ClaimScratch(GemmScratch* scratch) const {
  for (const Bucket& bucket : buckets_) {
    for (const MatmulCall& call : bucket.calls) {
      if (scratch->scratchpad.size() < call.scratchpad_bytes()) {
        scratch->scratchpad.resize(call.scratchpad_bytes());
      }
    }
  }
  for (size_t rows = 1; rows <= max_rows_; ++rows) {
    const size_t padded = buckets_[choice_[rows]].rows;
    if (padded <= rows) continue;
    const size_t in_bytes = padded * shape_.k * ElementBytes(shape_.dtype);
    if (scratch->in.size() < in_bytes) scratch->in.resize(in_bytes);
    if (scratch->out.size() < padded * shape_.n) scratch->out.resize(padded * shape_.n);
  }
}

void GemmPlan::Run(const dnnl::stream& stream, const GemmWeights& weights, GemmScratch* scratch,
                   const void* in, size_t rows, bool accumulate, float* out,
                   uint32_t num_threads) const {
  PRECIS_CHECK(rows <= max_rows_ && choice_.size() == max_rows_ + 1);
  const auto* from = static_cast<const std::byte*>(in);
  while (rows > 0) {
    const Bucket& bucket = buckets_[choice_[rows]];
    const size_t done = std::min(rows, bucket.rows);
    if (bucket.rows > rows) {
      RunPadded(bucket, stream, weights, scratch, from, rows, accumulate, out, num_threads);
    } else {
      bucket.calls[accumulate].Run(stream, weights, scratch->scratchpad.data(), from, out);
    }
    rows -= done;
    from += done * shape_.k * ElementBytes(shape_.dtype);
    out += done * shape_.n;
  }
}

void GemmPlan::RunPadded(const Bucket& bucket, const dnnl::stream& stream,
                         const GemmWeights& weights, GemmScratch* scratch, const void* in,
                         size_t rows, bool accumulate, float* out, uint32_t num_threads) const {
  const size_t row_bytes = shape_.k * ElementBytes(shape_.dtype);
  const size_t out_bytes = rows * shape_.n * sizeof(float);
  CopyRows(scratch->in.data(), in, rows * row_bytes, num_threads);
  // Zeros, because what an earlier call left may be slow to multiply (denormals).
  std::memset(scratch->in.data() + rows * row_bytes, 0, (bucket.rows - rows) * row_bytes);
  if (accumulate) {
    CopyRows(scratch->out.data(), out, out_bytes, num_threads);
    std::fill(scratch->out.begin() + static_cast<ptrdiff_t>(rows * shape_.n),
              scratch->out.begin() + static_cast<ptrdiff_t>(bucket.rows * shape_.n), 0.0f);
  }
  bucket.calls[accumulate].Run(stream, weights, scratch->scratchpad.data(), scratch->in.data(),
                               scratch->out.data());
  CopyRows(out, scratch->out.data(), out_bytes, num_threads);
}

}  // namespace precis
