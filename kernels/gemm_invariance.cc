#include "kernels/gemm_invariance.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace precis {
namespace {

// Row i of the input is pattern i % kPatterns. A prime, so that equal rows meet every place of
// every blocking that a GEMM might use.
constexpr size_t kPatterns = 5;

// A narrow matrix gives few numbers, in which another order of additions may leave no trace: it is
// run with several inputs.
constexpr size_t kSamples = 2048;
size_t Repeats(const GemmShape& shape) { return 1 + kSamples / (kPatterns * shape.n); }

std::vector<std::byte> MakeInput(const GemmShape& shape, size_t rows, size_t repeat) {
  std::minstd_rand random(static_cast<uint32_t>(20240917 + repeat));
  std::vector<std::byte> in(rows * shape.k * ElementBytes(shape.dtype));
  for (size_t i = 0; i < std::min(rows, kPatterns) * shape.k; ++i) {
    const float x = static_cast<float>(random()) * 0x1p-30f - 1.0f;
    if (shape.dtype == DType::kBF16) {
      reinterpret_cast<uint16_t*>(in.data())[i] = F32ToBF16(x);
    } else {
      reinterpret_cast<float*>(in.data())[i] = x;
    }
  }
  const size_t row_bytes = in.size() / rows;
  for (size_t i = kPatterns; i < rows; ++i) {
    std::memcpy(&in[i * row_bytes], &in[(i % kPatterns) * row_bytes], row_bytes);
  }
  return in;
}

// The bits of the patterns' rows, as one bucket computes them.
struct Signature {
  size_t patterns = 0;      // how many the bucket has room for
  std::vector<float> rows;  // [repeats * 2 (accumulate), patterns, n]
  bool consistent = true;   // equal inputs gave equal bits everywhere in the bucket

  bool Agrees(const Signature& other, size_t n) const {
    const size_t shared = std::min(patterns, other.patterns);
    for (size_t a = 0; a < rows.size() / (patterns * n); ++a) {
      if (std::memcmp(&rows[a * patterns * n], &other.rows[a * other.patterns * n],
                      shared * n * sizeof(float)) != 0) {
        return false;
      }
    }
    return true;
  }
};

// Adds one input's results to `signature`.
void Sign(const GemmShape& shape, size_t index, size_t rows, const RunBucket& run,
          const std::vector<std::byte>& in, std::vector<float>* out, Signature* signature) {
  const size_t n = shape.n;
  signature->patterns = std::min(rows, kPatterns);
  for (const bool accumulate : {false, true}) {
    // What is added to must repeat with the same period; its values need not be many.
    if (accumulate) {
      for (size_t i = 0; i < rows; ++i) {
        std::fill_n(out->begin() + static_cast<ptrdiff_t>(i * n), n,
                    0.37f * static_cast<float>(i % kPatterns + 1));
      }
    }
    run(index, accumulate, in.data(), out->data());
    for (size_t i = kPatterns; i < rows && signature->consistent; ++i) {
      signature->consistent =
          std::memcmp(&(*out)[i * n], &(*out)[(i % kPatterns) * n], n * sizeof(float)) == 0;
    }
    signature->rows.insert(signature->rows.end(), out->begin(),
                           out->begin() + static_cast<ptrdiff_t>(signature->patterns * n));
  }
}

}  // namespace

std::vector<bool> FindInvariantBuckets(const GemmShape& shape, const std::vector<size_t>& rows,
                                       const RunBucket& run) {
  std::vector<float> out(rows.back() * shape.n);
  std::vector<Signature> signatures(rows.size());
  for (size_t repeat = 0; repeat < Repeats(shape); ++repeat) {
    const std::vector<std::byte> in = MakeInput(shape, rows.back(), repeat);
    for (size_t i = 0; i < rows.size(); ++i) {
      Sign(shape, i, rows[i], run, in, &out, &signatures[i]);
    }
  }
  std::vector<bool> best(rows.size(), false);
  size_t best_count = 0;
  // From the largest down: it holds all patterns, so that agreeing with it is agreeing mutually.
  for (size_t leader = rows.size(); leader-- > 0;) {
    if (!signatures[leader].consistent) continue;
    std::vector<bool> set(rows.size(), false);
    for (size_t i = 0; i <= leader; ++i) {
      set[i] = signatures[i].consistent && signatures[i].Agrees(signatures[leader], shape.n);
    }
    const auto count = static_cast<size_t>(std::ranges::count(set, true));
    if (count > best_count) {
      best = std::move(set);
      best_count = count;
    }
  }
  // One row is consistent by itself; if not even that bucket exists, the smallest must do.
  if (best_count == 0) best.front() = true;
  return best;
}

}  // namespace precis
