#include "engine/load/load_types.h"

#include "gtest/gtest.h"

namespace precis {
namespace {

void ExpectTypes(const char* dtype, const char* kv_dtype, DType native, const LoadTypes& want) {
  const StatusOr<LoadTypes> types = ResolveTypes(dtype, kv_dtype, native);
  ASSERT_TRUE(types.ok()) << types.status();
  EXPECT_EQ(types->weights.projections, want.weights.projections) << dtype;
  EXPECT_EQ(types->weights.others, want.weights.others) << dtype;
  EXPECT_EQ(types->kv, want.kv) << dtype << ", kv " << kv_dtype;
}

constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16, kI8 = DType::kI8;

TEST(ResolveTypes, AutoIsTheNativeTypeAndNeverInt8) {
  ExpectTypes("auto", "auto", kF32, {{kF32, kF32}, kF32});
  ExpectTypes("auto", "auto", kBF16, {{kBF16, kBF16}, kBF16});
  ExpectTypes("auto", "int8", kBF16, {{kBF16, kBF16}, kI8});
}

TEST(ResolveTypes, KeysAndValuesAreAsTheWeightsUnlessAskedFor) {
  ExpectTypes("f32", "auto", kBF16, {{kF32, kF32}, kF32});
  ExpectTypes("f32", "bf16", kF32, {{kF32, kF32}, kBF16});
}

TEST(ResolveTypes, Int8LeavesTheOthersNative) {
  ExpectTypes("int8", "auto", kBF16, {{kI8, kBF16}, kBF16});
  ExpectTypes("int8", "auto", kF32, {{kI8, kF32}, kF32});
  ExpectTypes("int8", "int8", kBF16, {{kI8, kBF16}, kI8});
}

TEST(ResolveTypes, NamesTheFlagAndWhatItMustBe) {
  EXPECT_EQ(ResolveTypes("fp8", "auto", kF32).status().message(),
            "--dtype is 'fp8', must be auto, f32, bf16 or int8");
  EXPECT_EQ(ResolveTypes("f32", "", kF32).status().message(),
            "--kv-dtype is '', must be auto, f32, bf16 or int8");
}

}  // namespace
}  // namespace precis
