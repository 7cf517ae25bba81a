// What the kernel tests share: guarded buffers, random numbers, backends, comparisons.
//
// Thread rule: one test thread.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/dtype.h"
#include "kernels/ref/elements.h"

namespace precis {

// Memory between two guards; a kernel that writes past either end changes one.
class Guarded {
 public:
  Guarded(size_t elements, DType dtype)
      : dtype_(dtype),
        payload_bytes_(elements * ElementBytes(dtype)),
        bytes_(kGuardBytes + payload_bytes_ + kGuardBytes, std::byte{0xAB}) {}
  static Guarded Floats(size_t elements) { return Guarded(elements, DType::kF32); }

  void* data() { return bytes_.data() + kGuardBytes; }
  const void* data() const { return bytes_.data() + kGuardBytes; }
  float* floats() { return static_cast<float*>(data()); }
  DType dtype() const { return dtype_; }
  size_t size() const { return payload_bytes_ / ElementBytes(dtype_); }
  float at(size_t i) const { return LoadElement(data(), dtype_, i); }
  Activations View(size_t rows, size_t cols) { return {data(), dtype_, rows, cols}; }

  bool intact() const {
    for (size_t i = 0; i < kGuardBytes; ++i) {
      if (bytes_[i] != std::byte{0xAB}) return false;
      if (bytes_[kGuardBytes + payload_bytes_ + i] != std::byte{0xAB}) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuardBytes = 256;  // keeps the payload aligned as the vector is
  DType dtype_;
  size_t payload_bytes_;
  std::vector<std::byte> bytes_;
};

// Exactly as large as it must be, so that the address sanitizer sees every read past the end.
inline std::vector<float> RandomFloats(size_t n, uint32_t seed, float scale = 1.0f) {
  uint64_t state = seed * 2654435761u + 1;
  std::vector<float> values(n);
  for (float& x : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x = scale * (static_cast<float>(state >> 40) * 0x1p-23f - 1.0f);
  }
  return values;
}

inline std::vector<std::byte> Encode(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * ElementBytes(dtype));
  for (size_t i = 0; i < values.size(); ++i) StoreElement(bytes.data(), dtype, i, values[i]);
  return bytes;
}

// What Pack() takes, of random weights and, where it is wanted, a bias.
struct RandomMatrix {
  RandomMatrix(size_t n_, size_t k_, bool has_bias, uint32_t seed = 1)
      : n(n_), k(k_), w(RandomFloats(n * k, seed)) {
    if (has_bias) bias = RandomFloats(n, seed + 1, 3.0f);
  }
  MatrixToPack ToPack(DType dtype, size_t max_rows) const {
    return {"w", w, n, k, dtype, max_rows, bias};
  }

  size_t n;
  size_t k;
  std::vector<float> w;
  std::vector<float> bias;
};

constexpr ActivationKind kActivations[] = {ActivationKind::kRelu, ActivationKind::kGelu,
                                           ActivationKind::kGeluTanh, ActivationKind::kSilu};
constexpr NormKind kNorms[] = {NormKind::kRms, NormKind::kLayer};

// Weights of a norm of rows of `d` values.
struct RandomNorm {
  RandomNorm(NormKind kind_, size_t d)
      : kind(kind_), gain(RandomFloats(d, 31, 2.0f)), shift(RandomFloats(d, 32, 2.0f)) {}
  NormWeights Weights() const {
    return {kind, gain.data(), kind == NormKind::kLayer ? shift.data() : nullptr, 1e-5f};
  }

  NormKind kind;
  std::vector<float> gain;
  std::vector<float> shift;
};

// Each run of the test binary tests one ISA, because oneDNN's cap holds for a process.
inline std::string TestedIsa() {
  const char* isa = std::getenv("PRECIS_TEST_ISA");
  return isa == nullptr ? "auto" : isa;
}

inline std::unique_ptr<Backend> Ref() { return MakeBackend({.name = "ref"}).value(); }

// Null when this machine lacks the tested ISA.
inline std::unique_ptr<Backend> Cpu(uint32_t threads = 2) {
  auto backend = MakeBackend({.name = "cpu", .isa = TestedIsa(), .threads = threads});
  if (backend.ok()) return *std::move(backend);
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kInvalidArgument) << backend.status();
  return nullptr;
}

// Whether this machine must take weights of `dtype` under the tested ISA.
inline bool Takes(const Backend& cpu, DType dtype) {
  if (dtype == DType::kF32) return true;
  if (cpu.isa() == "avx2") return false;
#if defined(__x86_64__)
  return dtype == DType::kBF16 || __builtin_cpu_supports("avx512vnni");
#else
  return dtype == DType::kBF16;
#endif
}

#define PRECIS_SKIP_WITHOUT(backend) \
  if ((backend) == nullptr) GTEST_SKIP() << "this machine lacks isa " << TestedIsa()

// Values that a type rounds are compared within one unit in its last place.
inline double Tolerance(DType dtype, double expected, double absolute) {
  return absolute + (dtype == DType::kBF16 ? std::abs(expected) / 128 : std::abs(expected) * 1e-6);
}

// All of `got`, which may be shorter than `want`.
inline ::testing::AssertionResult AllNear(const Guarded& got, const Guarded& want, DType dtype,
                                          double absolute) {
  if (!got.intact()) return ::testing::AssertionFailure() << "wrote outside its output";
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got.at(i)) - want.at(i));
    if (!(error <= Tolerance(dtype, want.at(i), absolute))) {
      return ::testing::AssertionFailure()
             << "element " << i << ": " << got.at(i) << " instead of " << want.at(i);
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace precis
