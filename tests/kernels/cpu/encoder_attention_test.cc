// Encoder attention of the cpu backend against ref, and slices against the whole.
#include "tests/kernels/cpu/encoder_testing.h"

namespace precis {
namespace {

std::vector<EncoderCase> Cases() {
  std::vector<EncoderCase> cases;
  for (const uint32_t tokens : {1, 7, 17, 63, 64, 65, 255, 256, 257, 530}) {
    for (const uint32_t head_dim : {1, 7, 16, 24, 64, 128}) {
      const uint32_t heads = tokens > 100 ? 1 : 3;
      const bool bias = tokens % 2 == 1 || head_dim == 64;
      cases.push_back({tokens, heads, head_dim, bias, DType::kF32});
      cases.push_back({tokens, heads, head_dim, bias, DType::kBF16});
    }
  }
  return cases;
}

std::string Name(const EncoderCase& c) {
  return std::to_string(c.tokens) + " tokens, " + std::to_string(c.heads) + " x " +
         std::to_string(c.head_dim) + (c.bias ? ", bias, " : ", ") + std::string(DTypeName(c.out));
}

constexpr BackendLimits kLimits = {.num_heads = 3,
                                   .head_dim = 128,
                                   .max_source_tokens = 600,
                                   .max_target_tokens = 1,
                                   .max_decode_rows = 1,
                                   .max_encode_rows = 600};

// Results for a bf16 GEMM may come from bf16 products, which round the probabilities: each is off
// by 2^-9 of itself at most, and so is their sum over values of up to 2.5.
constexpr double kRoundedProbabilities = 2.5 / 512;

double Limit(const EncoderCase& c) { return c.out == DType::kBF16 ? kRoundedProbabilities : 5e-6; }

TEST(EncoderAttention, IsNearRefForOddShapes) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  ASSERT_TRUE(cpu->Prepare(kLimits).ok());
  ASSERT_TRUE(ref->Prepare(kLimits).ok());
  for (const EncoderCase& c : Cases()) {
    const EncoderDocument document(c);
    const Guarded got = document.Run(cpu.get(), 0, c.tokens);
    const Guarded want = document.Run(ref.get(), 0, c.tokens);
    EXPECT_TRUE(AllNear(got, want, c.out, Limit(c))) << Name(c);
  }
}

TEST(EncoderAttention, SlicesHaveTheBitsOfTheWhole) {
  const auto cpu = Cpu(3);
  PRECIS_SKIP_WITHOUT(cpu);
  ASSERT_TRUE(cpu->Prepare(kLimits).ok());
  for (const EncoderCase& c : Cases()) {
    const EncoderDocument document(c);
    const size_t row_bytes = c.heads * c.head_dim * ElementBytes(c.out);
    const Guarded whole = document.Run(cpu.get(), 0, c.tokens);
    for (const auto& [first, count] :
         {std::pair{0u, 1u}, {5u, 1u}, {3u, 7u}, {60u, 70u}, {1u, 90u}, {250u, 10u}, {529u, 1u}}) {
      if (first + count > c.tokens) continue;
      const Guarded slice = document.Run(cpu.get(), first, count);
      EXPECT_TRUE(slice.intact());
      EXPECT_EQ(
          std::memcmp(slice.data(), static_cast<const std::byte*>(whole.data()) + first * row_bytes,
                      count * row_bytes),
          0)
          << Name(c) << ", rows from " << first;
    }
  }
}

// As the model calls it: the first slice of a layer packs the keys for the others.
TEST(EncoderAttention, LaterSlicesHaveTheBitsOfTheWholeFromKeysPackedByTheFirst) {
  const auto cpu = Cpu(3);
  PRECIS_SKIP_WITHOUT(cpu);
  ASSERT_TRUE(cpu->Prepare(kLimits).ok());
  for (const EncoderCase& c : Cases()) {
    if (c.tokens < 2) continue;
    const EncoderDocument document(c);
    const size_t row_bytes = c.heads * c.head_dim * ElementBytes(c.out);
    const Guarded whole = document.Run(cpu.get(), 0, c.tokens);
    // Of no alignment, and exactly as large as it must be.
    std::vector<std::byte> packed(EncoderPackedBytes(c.tokens, c.heads, c.head_dim) + 1);
    const uint32_t first = c.tokens / 2;
    const Guarded begin = document.Run(cpu.get(), 0, first, packed.data() + 1, false);
    const Guarded end = document.Run(cpu.get(), first, c.tokens - first, packed.data() + 1, true);
    const auto* want = static_cast<const std::byte*>(whole.data());
    EXPECT_EQ(std::memcmp(begin.data(), want, first * row_bytes), 0) << Name(c);
    EXPECT_EQ(std::memcmp(end.data(), want + first * row_bytes, (c.tokens - first) * row_bytes), 0)
        << Name(c);
  }
}

TEST(EncoderAttention, DoesNotDependOnTheNumberOfThreads) {
  const auto one = Cpu(1);
  PRECIS_SKIP_WITHOUT(one);
  const auto five = Cpu(5);
  ASSERT_TRUE(one->Prepare(kLimits).ok());
  ASSERT_TRUE(five->Prepare(kLimits).ok());
  const EncoderDocument document({300, 3, 64, true, DType::kF32});
  const Guarded a = document.Run(one.get(), 0, 300);
  const Guarded b = document.Run(five.get(), 0, 300);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

TEST(EncoderAttention, SurvivesScoresFarApart) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  ASSERT_TRUE(cpu->Prepare(kLimits).ok());
  ASSERT_TRUE(ref->Prepare(kLimits).ok());
  // Scores of some thousands: the softmax is one-hot, chunks lose their sums by factors of 0.
  for (const DType out : {DType::kF32, DType::kBF16}) {
    EncoderDocument document({530, 1, 16, true, out});
    for (float& x : document.qkv) x *= 16.0f;
    const Guarded got = document.Run(cpu.get(), 0, 530);
    const Guarded want = document.Run(ref.get(), 0, 530);
    EXPECT_TRUE(AllNear(got, want, out, out == DType::kF32 ? 2e-2 : 16 * kRoundedProbabilities));
  }
}

// What is not finite must be seen where it belongs, and nowhere else.
TEST(EncoderAttention, PassesNanOn) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  ASSERT_TRUE(cpu->Prepare(kLimits).ok());
  for (const DType out : {DType::kF32, DType::kBF16}) {
    EncoderDocument document({300, 1, 24, true, out});
    const Guarded before = document.Run(cpu.get(), 0, 300);
    document.qkv[290 * document.stride + 2 * 24 + 5] = NAN;  // a value of the second chunk
    const Guarded after = document.Run(cpu.get(), 0, 300);
    for (size_t i = 0; i < after.size(); ++i) {
      EXPECT_TRUE(i % 24 == 5 ? std::isnan(after.at(i)) : after.at(i) == before.at(i)) << i;
    }
  }
}

}  // namespace
}  // namespace precis
