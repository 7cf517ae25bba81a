// Encoder attention of the cpu backend against ref, and slices against the whole.
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

struct Case {
  uint32_t tokens;
  uint32_t heads;
  uint32_t head_dim;
  bool bias;
  DType out;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
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

// One document: q, k and v in one matrix as the model has them, and its bias.
struct Document {
  explicit Document(const Case& document) : c(document) {
    const size_t width = c.heads * c.head_dim;
    stride = 3 * width;
    // Scores have a deviation of about 2.
    const float scale = std::sqrt(6.0f / std::sqrt(static_cast<float>(c.head_dim)));
    qkv = RandomFloats(c.tokens * stride, 1, scale);
    bias = RandomFloats(c.heads * (2 * c.tokens - 1), 2, 2.0f);
    // What a bf16 kernel would round anyway: the scores of all kernels are then the same.
    if (c.out == DType::kBF16) {
      for (float& x : qkv) x = BF16ToF32(F32ToBF16(x));
    }
  }

  Guarded Run(Backend* backend, uint32_t begin, uint32_t rows) const {
    std::vector<std::byte> packed(EncoderPackedBytes(c.tokens, c.heads, c.head_dim));
    return Run(backend, begin, rows, packed.data(), false);
  }

  Guarded Run(Backend* backend, uint32_t begin, uint32_t rows, std::byte* packed,
              bool is_packed) const {
    const size_t width = c.heads * c.head_dim;
    Guarded out(rows * width, c.out);
    EncoderAttentionParams p{.q = qkv.data(),
                             .k = qkv.data() + width,
                             .v = qkv.data() + 2 * width,
                             .row_stride = stride,
                             .num_keys = c.tokens,
                             .num_heads = c.heads,
                             .head_dim = c.head_dim,
                             .begin = begin,
                             .bias = {},
                             .out = out.View(rows, width),
                             .packed = packed,
                             .is_packed = is_packed};
    if (c.bias) p.bias = {bias.data(), 2 * c.tokens - 1, c.tokens - 1};
    backend->EncoderAttention(p);
    return out;
  }

  Case c;
  size_t stride;
  std::vector<float> qkv;
  std::vector<float> bias;
};

std::string Name(const Case& c) {
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

double Limit(const Case& c) { return c.out == DType::kBF16 ? kRoundedProbabilities : 5e-6; }

TEST(EncoderAttention, IsNearRefForOddShapes) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  ASSERT_TRUE(cpu->Prepare(kLimits).ok());
  ASSERT_TRUE(ref->Prepare(kLimits).ok());
  for (const Case& c : Cases()) {
    const Document document(c);
    const Guarded got = document.Run(cpu.get(), 0, c.tokens);
    const Guarded want = document.Run(ref.get(), 0, c.tokens);
    EXPECT_TRUE(AllNear(got, want, c.out, Limit(c))) << Name(c);
  }
}

TEST(EncoderAttention, SlicesHaveTheBitsOfTheWhole) {
  const auto cpu = Cpu(3);
  PRECIS_SKIP_WITHOUT(cpu);
  ASSERT_TRUE(cpu->Prepare(kLimits).ok());
  for (const Case& c : Cases()) {
    const Document document(c);
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
  for (const Case& c : Cases()) {
    if (c.tokens < 2) continue;
    const Document document(c);
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
  const Document document({300, 3, 64, true, DType::kF32});
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
    Document document({530, 1, 16, true, out});
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
    Document document({300, 1, 24, true, out});
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
