#include "cli/model/inspect.h"

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

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
  const auto assigned = Inspect("tests/golden/kdgqa_g2", "f32", "f32");
  const auto noisy = Inspect("tests/golden/pgqa_g2", "f32", "f32");
  ASSERT_TRUE(assigned.ok() && noisy.ok()) << assigned.status() << noisy.status();
  const std::string text = FormatInspection(*assigned, {});
  EXPECT_THAT(text, HasSubstr("attention          kdgqa\n"));
  EXPECT_THAT(text, HasSubstr("query heads        4, assigned by the norms of the keys so far\n"));
  // 2 layers x 2 heads x (16 values x (K, V) + 1 sum) x 4 bytes
  EXPECT_EQ(assigned->info.self_bytes_per_token, 2u * 2 * (16 * 2 + 1) * 4);
  EXPECT_THAT(text, Not(HasSubstr("noise")));
  EXPECT_THAT(FormatInspection(*noisy, {}), HasSubstr("noise              follows the request's"));
}

TEST(InspectCommand, EveryMatrixIsHalfAsLargeInInt8ButTheEmbedding) {
  const auto bf16 = Inspect("models/demo", "bf16", "bf16");
  const auto int8 = Inspect("models/demo", "int8", "bf16");
  ASSERT_TRUE(bf16.ok() && int8.ok()) << bf16.status() << int8.status();
  // q, k, v, o of 4 encoder layers; twice q, o, and folded k, v of 4 decoder layers; wi and wo of
  // all 8; the vocabulary that is multiplied with, which lies beside the one that is looked up.
  constexpr uint64_t kValues =
      4 * 4 * 256 * 256 + 4 * 2 * (2 * 256 + 2 * 64) * 256 + 8 * 2 * 256 * 1024 + 8128 * 256;
  EXPECT_EQ(bf16->info.weight_bytes - int8->info.weight_bytes, kValues);
}

TEST(InspectCommand, SaysWhatARequestGetsThatSaysNothing) {
  const auto demo = Inspect("models/demo", "f32", "f32");
  ASSERT_TRUE(demo.ok()) << demo.status();
  const std::string text = FormatInspection(*demo, {});
  EXPECT_THAT(text, HasSubstr("prefix             \"summarize: \"\n"));
  EXPECT_THAT(text, HasSubstr("default choice     num_beams "));
  EXPECT_THAT(text, HasSubstr("default limits     max_new_tokens "));
  Inspection plain = *demo;
  plain.effective = {};
  plain.info.decoder_start_token_id = 2;
  plain.info.end_token_ids = {1, 106};
  plain.notes = {"config.json says no start"};
  EXPECT_THAT(FormatInspection(plain, {}),
              HasSubstr("prefix             none\n"
                        "start, ends        2; 1 106\n"
                        "note               config.json says no start\n"
                        "default choice     greedy\n"
                        "default limits     max_new_tokens 128\n"));
  plain.effective.options.temperature = 0.5f;
  plain.effective.options.forced_bos_token_ids = {7};
  const std::string sampled = FormatInspection(plain, {});
  EXPECT_THAT(sampled, HasSubstr("temperature 0.5, top_k 0, top_p 1\n"));
  EXPECT_THAT(sampled, HasSubstr("forced_bos_token_id 7\n"));
}

// The demo model with one file that `change` has changed.
class BrokenModel : public ::testing::Test {
 protected:
  BrokenModel() {
    for (const char* name :
         {"config.json", "generation_config.json", "model.safetensors", "spiece.model"}) {
      std::filesystem::copy(std::string("models/demo/") + name, dir_ / name);
    }
  }
  std::string Error() {
    const auto inspection = Inspect(dir_.path(), "f32", "f32");
    EXPECT_FALSE(inspection.ok());
    return std::string(inspection.status().message());
  }
  precis::testing::TempDir dir_;
};

TEST_F(BrokenModel, WithoutItsTokenizerIsShownAndCannotBeServed) {
  std::filesystem::remove(dir_ / "spiece.model");
  const auto inspection = Inspect(dir_.path(), "f32", "f32");
  ASSERT_TRUE(inspection.ok()) << inspection.status();
  EXPECT_THAT(std::string(inspection->without_tokenizer.message()), HasSubstr("spiece.model"));
  EXPECT_THAT(FormatInspection(*inspection, {}), HasSubstr("tokenizer          none that can be"));
}

TEST_F(BrokenModel, WithAWeightThatIsNoNumberCannotBeServed) {
  // The last tensor of the file; inspecting decoder keys and values alone would miss others.
  std::string bytes = precis::testing::ReadAll(dir_ / "model.safetensors");
  bytes.replace(bytes.size() - 2, 2, "\xff\xff");
  dir_.Write("model.safetensors", bytes);
  EXPECT_THAT(Error(), HasSubstr("is not finite"));
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

}  // namespace
}  // namespace precis::cli
