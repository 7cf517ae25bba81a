// Which ids begin and end a summary. What is expected is what model.generation_config and
// generate() of transformers 5.5.4 make of the same two files (from_pretrained of a T5 and an mT5,
// then generate() of one source); REFUSED is where that raises.
#include "engine/model/config/token_ids.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Members of the two files; no `generation`: the file is not there.
StatusOr<TokenIds> Load(const std::string& config, const std::string& generation = "absent") {
  const testing::TempDir dir;
  dir.Write("config.json", "{\"model_type\": \"t5\"" + (config.empty() ? "" : ", " + config) + "}");
  if (generation != "absent") dir.Write("generation_config.json", "{" + generation + "}");
  return LoadTokenIds(dir.path(), 40, SpecialTokens());
}

TEST(TokenIds, GenerationConfigSaysAllOfThemWhereItIsThere) {
  const auto ids = Load(R"("decoder_start_token_id": 7, "eos_token_id": 1)",
                        R"("decoder_start_token_id": 3, "eos_token_id": 9)");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->tokens.start, 3);
  EXPECT_THAT(ids->tokens.ends, ElementsAre(9));
  EXPECT_THAT(ids->notes, IsEmpty());
}

TEST(TokenIds, SeveralEndsAreSeveralEnds) {
  EXPECT_THAT(Load("", R"("bos_token_id": 0, "eos_token_id": [9, 1, 9])")->tokens.ends,
              ElementsAre(1, 9));
  EXPECT_THAT(Load(R"("decoder_start_token_id": 0, "eos_token_id": [2, 1])")->tokens.ends,
              ElementsAre(1, 2))
      << "and config.json may have a list, too";
}

TEST(TokenIds, AnEndThatTheFileDoesNotSayThereIsNone) {
  for (const char* generation :
       {R"("decoder_start_token_id": 0)", R"("decoder_start_token_id": 0, "eos_token_id": null)"}) {
    const auto ids = Load(R"("decoder_start_token_id": 0, "eos_token_id": 1)", generation);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_THAT(ids->tokens.ends, IsEmpty()) << generation;
    EXPECT_THAT(ids->notes, ElementsAre(HasSubstr("generation_config.json: says no eos_token_id")));
  }
  const auto of_config = Load(R"("decoder_start_token_id": 0)");
  EXPECT_THAT(of_config->tokens.ends, IsEmpty());
  EXPECT_THAT(of_config->notes, ElementsAre(HasSubstr("config.json: says no eos_token_id")));
}

TEST(TokenIds, BeginWithBosWhereNoStartIsSaid) {
  const auto ids = Load(R"("decoder_start_token_id": 7, "eos_token_id": 1)",
                        R"("bos_token_id": 9, "eos_token_id": 1)");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->tokens.start, 9);
  EXPECT_EQ(Load(R"("bos_token_id": 3, "eos_token_id": 1)")->tokens.start, 3);
  EXPECT_EQ(Load("", R"("bos_token_id": 9, "decoder_start_token_id": 3)")->tokens.start, 3);
  EXPECT_EQ(Load("", R"("bos_token_id": [9], "decoder_start_token_id": null)")->tokens.start, 9)
      << "a list of one";
}

// transformers: REFUSED, "`decoder_start_token_id` or `bos_token_id` has to be defined".
TEST(TokenIds, WithoutAnyStartTheOtherFileFillsInAndThenT5) {
  auto ids = Load(R"("decoder_start_token_id": 7, "eos_token_id": 2)", R"("num_beams": 4)");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->tokens.start, 7);
  EXPECT_THAT(ids->tokens.ends, ElementsAre(2));
  EXPECT_THAT(ids->notes, ElementsAre(AllOf(HasSubstr("generation_config.json: says neither"),
                                            HasSubstr("begin with 7"))));
  EXPECT_THAT(Load(R"("eos_token_id": 2)", R"("eos_token_id": 5)")->tokens.ends, ElementsAre(5));
  ids = Load("", "");
  EXPECT_EQ(ids->tokens.start, 0);
  EXPECT_THAT(ids->tokens.ends, ElementsAre(1));
  ids = Load(R"("eos_token_id": [3])");
  EXPECT_EQ(ids->tokens.start, 0);
  EXPECT_THAT(ids->tokens.ends, ElementsAre(3));
}

TEST(TokenIds, WhatIsNoIdNamesFileAndKey) {
  const auto error = [](const std::string& generation) {
    const auto ids = Load(R"("decoder_start_token_id": 0, "eos_token_id": 1)", generation);
    EXPECT_FALSE(ids.ok()) << generation;
    return std::string(ids.status().message());
  };
  for (const char* bad : {"40", "-1", "1.5", "true", "\"1\"", "[1, 40]", "[[1]]", "{}"}) {
    EXPECT_THAT(error(std::string("\"eos_token_id\": ") + bad),
                HasSubstr("generation_config.json: eos_token_id: "))
        << bad;
    EXPECT_THAT(error(std::string("\"bos_token_id\": ") + bad), HasSubstr("bos_token_id: "));
  }
  EXPECT_THAT(error(R"("eos_token_id": [])"), HasSubstr("has 0 ids, must have 1 to 16"));
  EXPECT_THAT(error(R"("eos_token_id": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17])"),
              HasSubstr("has 17 ids"));
  EXPECT_THAT(error(R"("decoder_start_token_id": [3, 4])"), HasSubstr("has 2 ids, must have 1"));
}

TEST(TokenIds, WhatTheOtherFileSaysDoesNotMatter) {
  EXPECT_TRUE(Load(R"("decoder_start_token_id": -5, "eos_token_id": 400)",
                   R"("decoder_start_token_id": 0, "eos_token_id": 1)")
                  .ok());
}

}  // namespace
}  // namespace precis
