#include "cli/inspect.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(InspectCommand, SaysGroupingFoldingAndMemoryOfTheDemoModel) {
  const auto inspection = Inspect("models/demo", "f32", "f32");
  ASSERT_TRUE(inspection.ok()) << inspection.status();
  const std::string text = FormatInspection(*inspection, {.documents = 10});
  EXPECT_THAT(text, HasSubstr("query heads        8\n"));
  EXPECT_THAT(text, HasSubstr("self KV heads      2 in every layer\n"));
  EXPECT_THAT(text, HasSubstr("wgqa"));
  EXPECT_THAT(text, Not(HasSubstr("folded at load     nothing")));
  // 4 layers x 2 heads x 32 values x (K, V) x 4 bytes
  EXPECT_THAT(text, HasSubstr("a new token        2.0 KiB"));
  EXPECT_THAT(text, HasSubstr("10 documents of 512 tokens, 128 new tokens each"));
}

TEST(InspectCommand, SaysWhatFollowsTheSequence) {
  const auto dealt = Inspect("tests/golden/kdgqa_g2", "f32", "f32");
  const auto noisy = Inspect("tests/golden/pgqa_g2", "f32", "f32");
  ASSERT_TRUE(dealt.ok() && noisy.ok()) << dealt.status() << noisy.status();
  const std::string text = FormatInspection(*dealt, {});
  EXPECT_THAT(text, HasSubstr("attention          kdgqa\n"));
  EXPECT_THAT(text, HasSubstr("query heads        4, dealt out by the norms of the keys so far\n"));
  // 2 layers x 2 heads x (16 values x (K, V) + 1 sum) x 4 bytes
  EXPECT_EQ(dealt->info.self_bytes_per_token, 2u * 2 * (16 * 2 + 1) * 4);
  EXPECT_THAT(text, Not(HasSubstr("noise")));
  EXPECT_THAT(FormatInspection(*noisy, {}), HasSubstr("noise              follows the request's"));
}

TEST(InspectCommand, EveryMatrixIsHalfAsLargeInInt8ButTheEmbedding) {
  const auto bf16 = Inspect("models/demo", "bf16", "bf16");
  const auto int8 = Inspect("models/demo", "int8", "bf16");
  ASSERT_TRUE(bf16.ok() && int8.ok()) << bf16.status() << int8.status();
  // q, k, v, o of 4 encoder layers and twice of 4 decoder layers; wi and wo of all 8.
  constexpr uint64_t kValues = 4 * (4 + 8) * 256 * 256 + 8 * 2 * 256 * 1024;
  EXPECT_EQ(bf16->info.weight_bytes - int8->info.weight_bytes, kValues);
}

TEST(InspectCommand, UnequalGroupsAreSaidByLayer) {
  Inspection inspection;
  inspection.info.self_kv_heads = {2, 4};
  inspection.info.cross_kv_heads = {1, 1};
  inspection.info.self_slots = inspection.info.cross_slots = 16;
  inspection.info.page_bytes = 16;
  const std::string text = FormatInspection(inspection, {});
  EXPECT_THAT(text, HasSubstr("self KV heads      2 4, by layer\n"));
  EXPECT_THAT(text, HasSubstr("cross KV heads     1 in every layer\n"));
}

TEST(InspectCommand, BytesAreSaidInTheNearestUnit) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1536u << 10), "1.5 MiB");
  EXPECT_EQ(FormatBytes(5ull << 50), "5120.0 TiB");
}

}  // namespace
}  // namespace precis::cli
