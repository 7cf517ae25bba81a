#include "engine/model/config/generation_defaults.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

// `generation` and `task` are JSON; empty means that the file or the object is not there.
StatusOr<GenerationDefaults> Load(const std::string& generation, const std::string& task = "",
                                  const std::string& top = "") {
  const testing::TempDir dir;
  std::string config = "{\"model_type\": \"t5\", \"dropout_rate\": 0.1";
  if (!task.empty()) {
    config += ", \"task_specific_params\": {\"summarization\": " + task +
              ", \"translation_en_to_de\": {\"max_length\": \"nonsense of another task\"}}";
  }
  dir.Write("config.json", config + top + "}");
  if (!generation.empty()) dir.Write("generation_config.json", generation);
  return LoadGenerationDefaults(dir.path());
}

std::string ErrorOf(const std::string& generation, const std::string& task = "") {
  return std::string(Load(generation, task).status().message());
}

TEST(GenerationDefaults, OfTheFixtureAreThoseOfTheTask) {
  const auto defaults = LoadGenerationDefaults("tests/golden/t5_v10_relu_tied");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  const GenerationOverrides& v = defaults->values;
  EXPECT_EQ(v.max_new_tokens, 199u) << "max_length counts the start token";
  EXPECT_EQ(v.min_new_tokens, 29u);
  EXPECT_EQ(v.num_beams, 4u);
  EXPECT_EQ(v.length_penalty, 2.0f);
  EXPECT_EQ(v.early_stopping, EarlyStopping::kTrue);
  EXPECT_EQ(v.no_repeat_ngram_size, 3u);
  EXPECT_EQ(v.prefix, "summarize: ");
  EXPECT_EQ(v.temperature, std::nullopt);
  EXPECT_THAT(defaults->unsupported, IsEmpty());
}

TEST(GenerationDefaults, OfTheDemoModelPreferItsGenerationConfig) {
  const auto defaults = LoadGenerationDefaults("models/demo");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->values.max_new_tokens, 48u);
  EXPECT_EQ(defaults->values.num_beams, 4u);
  EXPECT_EQ(defaults->values.prefix, "summarize: ");
  EXPECT_THAT(defaults->unsupported, IsEmpty());
}

TEST(GenerationDefaults, TheFirstFileThatSaysAKeyWins) {
  const auto defaults = Load(R"({"num_beams": 2, "top_p": null})",
                             R"({"num_beams": 4, "top_p": 0.5, "max_length": 10})");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->values.num_beams, 2u);
  EXPECT_EQ(defaults->values.top_p, 0.5f) << "null says nothing";
  EXPECT_EQ(defaults->values.max_new_tokens, 9u);
}

TEST(GenerationDefaults, MaxNewTokensWinsOverMaxLength) {
  EXPECT_EQ(Load(R"({"max_length": 10, "max_new_tokens": 50})")->values.max_new_tokens, 50u);
  EXPECT_EQ(Load(R"({"max_length": 10})", R"({"max_new_tokens": 50})")->values.max_new_tokens, 9u);
}

TEST(GenerationDefaults, TheLargerMinimumHolds) {
  EXPECT_EQ(Load(R"({"min_length": 30})")->values.min_new_tokens, 29u);
  EXPECT_EQ(Load(R"({"min_length": 0})")->values.min_new_tokens, 0u);
  EXPECT_EQ(Load(R"({"min_length": 30, "min_new_tokens": 40})")->values.min_new_tokens, 40u);
  EXPECT_EQ(Load(R"({"min_length": 30, "min_new_tokens": 5})")->values.min_new_tokens, 29u);
}

TEST(GenerationDefaults, ATemperatureNeedsDoSample) {
  const auto greedy = Load(R"({"temperature": 0.7, "top_k": 20})");
  ASSERT_TRUE(greedy.ok());
  EXPECT_EQ(greedy->values.temperature, std::nullopt);
  EXPECT_EQ(greedy->values.top_k, 20u);
  EXPECT_EQ(Load(R"({"do_sample": false, "temperature": 0.7})")->values.temperature, std::nullopt);
  EXPECT_EQ(Load(R"({"do_sample": true, "temperature": 0.7})")->values.temperature, 0.7f);
}

TEST(GenerationDefaults, DoSampleBringsTheDefaultsOfGenerate) {
  const auto sampled = Load(R"({"do_sample": true})");
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ(sampled->values.temperature, 1.0f);
  EXPECT_EQ(sampled->values.top_k, 50u);
  EXPECT_EQ(Load(R"({"do_sample": true, "top_k": 0})")->values.top_k, 0u);
}

TEST(GenerationDefaults, EarlyStoppingHasThreeValues) {
  EXPECT_EQ(Load(R"({"early_stopping": "never"})")->values.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(Load(R"({"early_stopping": false})")->values.early_stopping, EarlyStopping::kFalse);
  EXPECT_THAT(ErrorOf(R"({"early_stopping": "soon"})"), HasSubstr("early_stopping: must be"));
}

TEST(GenerationDefaults, ReadsForcedAndForbiddenTokens) {
  const auto defaults =
      Load(R"({"forced_bos_token_id": 0, "forced_eos_token_id": [1], "suppress_tokens": [5, 7]})",
           R"({"forced_bos_token_id": 3, "bad_words_ids": [[8], [9, 10]]})");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_THAT(defaults->values.forced_bos_token_ids, Optional(ElementsAre(0)));
  EXPECT_THAT(defaults->values.forced_eos_token_ids, Optional(ElementsAre(1)));
  EXPECT_THAT(Load(R"({"forced_eos_token_id": [1, 7]})")->values.forced_eos_token_ids,
              Optional(ElementsAre(1, 7)));
  EXPECT_THAT(defaults->values.suppressed_token_ids, Optional(ElementsAre(5, 7)));
  EXPECT_THAT(defaults->values.bad_words,
              Optional(ElementsAre(ElementsAre(8), ElementsAre(9, 10))));
  EXPECT_THAT(defaults->unsupported, IsEmpty());
  const auto none = Load(R"({"suppress_tokens": [], "bad_words_ids": null})");
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(none->values.suppressed_token_ids, Optional(IsEmpty()));
  EXPECT_EQ(none->values.bad_words, std::nullopt);
}

TEST(GenerationDefaults, TokensThatTheModelHasNotAreErrors) {
  const auto error_of = [](const std::string& generation) {
    return std::string(Load(generation, "", R"(, "vocab_size": 10)").status().message());
  };
  EXPECT_EQ(error_of(R"({"forced_bos_token_id": 9, "suppress_tokens": [9]})"), "");
  EXPECT_THAT(error_of(R"({"forced_bos_token_id": 10})"), HasSubstr("forced_bos_token_id: must"));
  EXPECT_THAT(error_of(R"({"forced_eos_token_id": []})"), HasSubstr("forced_eos_token_id: must"));
  EXPECT_THAT(error_of(R"({"suppress_tokens": [-1]})"), HasSubstr("suppress_tokens: must be"));
  EXPECT_THAT(error_of(R"({"suppress_tokens": 3})"), HasSubstr("suppress_tokens: must be"));
  EXPECT_THAT(error_of(R"({"bad_words_ids": [1]})"), HasSubstr("bad_words_ids: must have lists"));
  EXPECT_THAT(error_of(R"({"bad_words_ids": [[]]})"), HasSubstr("bad_words_ids: must have lists"));
  EXPECT_THAT(error_of(R"({"bad_words_ids": [[1, 10]]})"), HasSubstr("bad_words_ids: must have"));
  EXPECT_THAT(error_of(R"({"bad_words_ids": {}})"), HasSubstr("bad_words_ids: must be a list"));
}

TEST(GenerationDefaults, MissingGenerationConfigReadsTheTopOfTheConfig) {
  const auto defaults = Load("", "", R"(, "num_beams": 3, "sequence_bias": [5])");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->values.num_beams, 3u);
  EXPECT_THAT(defaults->unsupported, ElementsAre(HasSubstr("config.json: sequence_bias = [5]")))
      << "and no key of the model itself";
  EXPECT_EQ(Load("{}", "", R"(, "num_beams": 3)")->values.num_beams, std::nullopt);
}

TEST(GenerationDefaults, ReportsWhatItCannotHonour) {
  const auto defaults =
      Load(R"({"diversity_penalty": 0.5, "num_beam_groups": 2, "begin_suppress_tokens": [3],
               "penalty_alpha": 0.6, "invented_tomorrow": true})",
           R"({"typical_p": 0.9, "another": 1})");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_THAT(defaults->unsupported,
              ElementsAre(HasSubstr("generation_config.json: begin_suppress_tokens = [3]"),
                          HasSubstr("generation_config.json: diversity_penalty = 0.5"),
                          HasSubstr("generation_config.json: invented_tomorrow = true"),
                          HasSubstr("generation_config.json: num_beam_groups = 2"),
                          HasSubstr("generation_config.json: penalty_alpha = 0.6"),
                          HasSubstr("config.json: task_specific_params.summarization.another = 1"),
                          HasSubstr("task_specific_params.summarization.typical_p = 0.9")));
}

TEST(GenerationDefaults, IsSilentAboutNeutralValuesAndBookkeeping) {
  const auto defaults = Load(
      R"({"diversity_penalty": 0.0, "num_beam_groups": 1, "bad_words_ids": null, "typical_p": 1.0,
          "encoder_repetition_penalty": 1.0, "renormalize_logits": false, "sequence_bias": null,
          "transformers_version": "5.1.0", "_from_model_config": true, "use_cache": true,
          "pad_token_id": 0, "eos_token_id": [1], "decoder_start_token_id": 0,
          "cache_implementation": "static", "invented_tomorrow": null})");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_THAT(defaults->unsupported, IsEmpty());
}

TEST(GenerationDefaults, LeavesTokenIdsToTheModelButATaskHasNone) {
  const auto defaults =
      Load(R"({"eos_token_id": [1, 2], "decoder_start_token_id": 7})", R"({"eos_token_id": 5})");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_THAT(defaults->unsupported,
              ElementsAre(HasSubstr("task_specific_params.summarization.eos_token_id = 5")));
}

TEST(GenerationDefaults, WrongTypesNameFileAndKey) {
  const auto names = [](const char* key) {
    return AllOf(HasSubstr("generation_config.json: "), HasSubstr(key));
  };
  EXPECT_THAT(ErrorOf(R"({"num_beams": "4"})"), names("num_beams: must be a whole number"));
  EXPECT_THAT(ErrorOf(R"({"num_beams": 0})"), names("num_beams: must be a whole number"));
  EXPECT_THAT(ErrorOf(R"({"max_length": -5})"), names("max_length: must be a whole number"));
  EXPECT_THAT(ErrorOf(R"({"max_length": 1})"), names("max_length: must be a whole number"));
  EXPECT_THAT(ErrorOf(R"({"max_length": 20.5})"), names("max_length: must be a whole number"));
  EXPECT_THAT(ErrorOf(R"({"length_penalty": true})"), names("length_penalty: must be a number"));
  EXPECT_THAT(ErrorOf(R"({"do_sample": 1})"), names("do_sample: must be true or false"));
  EXPECT_THAT(ErrorOf(R"({"do_sample": true, "temperature": 0})"), names("temperature: must be"));
  EXPECT_THAT(ErrorOf(R"([1])"), names("not a JSON object"));
  EXPECT_THAT(ErrorOf(R"({"num_beams": )"), names("not valid JSON"));
  EXPECT_THAT(
      ErrorOf("{}", R"({"prefix": 5})"),
      HasSubstr("config.json: task_specific_params.summarization.prefix: must be a string"));
  EXPECT_THAT(ErrorOf("{}", "3"),
              HasSubstr("config.json: task_specific_params.summarization: must be an object"));
}

}  // namespace
}  // namespace precis
