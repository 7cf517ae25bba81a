// The kernels that intrinsics_x86.cc takes only on some machines, each called where it can run.
#include <algorithm>

#include "kernels/cpu/isa/kernels.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

using Kernel = void (*)(const EncoderAttentionParams&, size_t, size_t, size_t, float*);

struct Shape {
  uint32_t tokens;
  uint32_t head_dim;
};
constexpr Shape kShapes[] = {{1, 1},    {31, 7},   {33, 64},  {130, 24},
                             {256, 33}, {300, 64}, {600, 128}};

void CheckAgainstRef(Kernel kernel) {
  const auto ref = Ref();
  ASSERT_TRUE(ref->Prepare({.num_heads = 2, .head_dim = 128, .max_source_tokens = 600}).ok());
  for (const Shape& shape : kShapes) {
    const size_t width = 2 * shape.head_dim;
    auto qkv = RandomFloats(shape.tokens * 3 * width, 1,
                            std::sqrt(6.0f / std::sqrt(static_cast<float>(shape.head_dim))));
    for (float& x : qkv) x = BF16ToF32(F32ToBF16(x));
    const auto bias = RandomFloats(2 * (2 * shape.tokens - 1), 2, 2.0f);
    Guarded got(shape.tokens * width, DType::kBF16);
    Guarded want(shape.tokens * width, DType::kBF16);
    std::vector<std::byte> packed(EncoderPackedBytes(shape.tokens, 2, shape.head_dim));
    EncoderAttentionParams p{.q = qkv.data(),
                             .k = qkv.data() + width,
                             .v = qkv.data() + 2 * width,
                             .row_stride = 3 * width,
                             .num_keys = shape.tokens,
                             .num_heads = 2,
                             .head_dim = shape.head_dim,
                             .begin = 0,
                             .bias = {bias.data(), 2 * shape.tokens - 1, shape.tokens - 1},
                             .out = want.View(shape.tokens, width),
                             .packed = packed.data()};
    ref->EncoderAttention(p);
    p.out = got.View(shape.tokens, width);
    for (size_t first = 0; first < shape.tokens; first += kEncoderPackedKeys) {
      PackEncoderKeysAvx512Bf16(p, first);
    }
    std::vector<float> scratch(EncoderScratchFloats(shape.head_dim) + kMaxLanes);
    const size_t straddle = reinterpret_cast<uintptr_t>(scratch.data()) / sizeof(float) % kMaxLanes;
    for (size_t head = 0; head < 2; ++head) {
      for (size_t first = 0; first < shape.tokens; first += kEncoderQueryRows) {
        kernel(p, head, first, std::min<size_t>(kEncoderQueryRows, shape.tokens - first),
               scratch.data() + (kMaxLanes - straddle));
      }
    }
    EXPECT_TRUE(AllNear(got, want, DType::kBF16, 2.5 / 512))
        << shape.tokens << " x " << shape.head_dim;
  }
}

TEST(EncoderAttentionX86, Avx512Bf16IsNearRef) {
  const auto cpu = Cpu();
  if (cpu == nullptr || (cpu->isa() != "avx512_bf16" && cpu->isa() != "amx")) {
    GTEST_SKIP() << "this machine or process has no AVX512-BF16";
  }
  CheckAgainstRef(EncoderAttentionAvx512Bf16);
}

TEST(EncoderAttentionX86, AmxIsNearRef) {
  const auto cpu = Cpu();
  if (cpu == nullptr || cpu->isa() != "amx") GTEST_SKIP() << "this machine or process has no AMX";
  CheckAgainstRef(EncoderAttentionAmx);
}

}  // namespace
}  // namespace precis
