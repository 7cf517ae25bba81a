#include "cli/client/generation_flags.h"

#include <memory>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace precis::cli {
namespace {

v1::GenerationOptions Parse(std::vector<std::string> words) {
  CLI::App app;
  const auto options = std::make_shared<v1::GenerationOptions>();
  AddGenerationFlags(app, options);
  std::reverse(words.begin(), words.end());  // CLI11 takes them last first
  app.parse(words);
  return *options;
}

TEST(GenerationFlags, NothingTypedIsNothingSaid) { EXPECT_EQ(Parse({}).ByteSizeLong(), 0u); }

TEST(GenerationFlags, ZeroAndEmptyAreSaid) {
  const auto options = Parse({"--temperature", "0", "--no-repeat-ngram-size", "0", "--prefix", ""});
  EXPECT_TRUE(options.has_temperature());
  EXPECT_TRUE(options.has_no_repeat_ngram_size());
  EXPECT_TRUE(options.has_prefix());
}

TEST(GenerationFlags, EmptyListsOfTokensAreSaidToo) {
  const auto options = Parse({"--suppress-tokens", "", "--bad-words", ""});
  EXPECT_TRUE(options.has_suppressed_token_ids());
  EXPECT_EQ(options.suppressed_token_ids().ids_size(), 0);
  EXPECT_TRUE(options.has_bad_words());
  EXPECT_EQ(options.bad_words().words_size(), 0);
}

TEST(GenerationFlags, EveryFieldOfTheOptionsHasItsFlag) {
  const auto options = Parse({"--max-new-tokens",
                              "40",
                              "--min-new-tokens",
                              "3",
                              "--num-beams",
                              "4",
                              "--num-return-sequences",
                              "2",
                              "--length-penalty",
                              "-0.5",
                              "--early-stopping",
                              "never",
                              "--no-repeat-ngram-size",
                              "5",
                              "--repetition-penalty",
                              "1.25",
                              "--temperature",
                              "0.75",
                              "--top-k",
                              "50",
                              "--top-p",
                              "0.5",
                              "--seed",
                              "18446744073709551615",
                              "--stop",
                              "one",
                              "--stop",
                              "two words",
                              "--prefix",
                              "summarize: ",
                              "--drafting",
                              "prompt-lookup",
                              "--priority",
                              "high",
                              "--long-document-policy",
                              "windows",
                              "--log-probabilities",
                              "6",
                              "--forced-bos-token-id",
                              "7",
                              "--forced-eos-token-id",
                              "8",
                              "--suppress-tokens",
                              "5,17",
                              "--bad-words",
                              "9,10",
                              "--bad-words",
                              "11",
                              "--noise-seed",
                              "12"});
  v1::GenerationOptions expected;
  expected.set_max_new_tokens(40);
  expected.set_min_new_tokens(3);
  expected.set_num_beams(4);
  expected.set_num_return_sequences(2);
  expected.set_length_penalty(-0.5f);
  expected.set_early_stopping(v1::EARLY_STOPPING_NEVER);
  expected.set_no_repeat_ngram_size(5);
  expected.set_repetition_penalty(1.25f);
  expected.set_temperature(0.75f);
  expected.set_top_k(50);
  expected.set_top_p(0.5f);
  expected.set_seed(18446744073709551615u);
  expected.add_stop("one");
  expected.add_stop("two words");
  expected.set_prefix("summarize: ");
  expected.set_drafting(v1::DRAFTING_PROMPT_LOOKUP);
  expected.set_priority(v1::PRIORITY_HIGH);
  expected.set_long_document_policy(v1::LONG_DOCUMENT_POLICY_WINDOWS);
  expected.set_log_probabilities(6);
  expected.set_forced_bos_token_id(7);
  expected.set_forced_eos_token_id(8);
  expected.mutable_suppressed_token_ids()->add_ids(5);
  expected.mutable_suppressed_token_ids()->add_ids(17);
  expected.mutable_bad_words()->add_words()->add_ids(9);
  expected.mutable_bad_words()->mutable_words(0)->add_ids(10);
  expected.mutable_bad_words()->add_words()->add_ids(11);
  expected.set_noise_seed(12);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(options, expected))
      << options.DebugString();

  // A field that comes into the proto needs a flag, and a line here.
  std::vector<const google::protobuf::FieldDescriptor*> set;
  options.GetReflection()->ListFields(options, &set);
  EXPECT_EQ(static_cast<int>(set.size()), options.GetDescriptor()->field_count());
}

TEST(GenerationFlags, NonsenseIsAnErrorOfTheCommandLine) {
  EXPECT_THROW(Parse({"--max-new-tokens", "many"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--max-new-tokens", "-1"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--max-new-tokens", "4294967296"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--early-stopping", "perhaps"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--suppress-tokens", "5,,17"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--bad-words", "5,x"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--bad-words", "-5"}), CLI::ParseError);
}

TEST(GenerationFlags, FieldsOfErrorsLeadToTheFlag) {
  EXPECT_EQ(FlagOfField("options.top_p"), "--top-p");
  EXPECT_EQ(FlagOfField("options.stop[2]"), "--stop");
  EXPECT_EQ(FlagOfField("options.bad_words[3].ids[1]"), "--bad-words");
  EXPECT_EQ(FlagOfField("options.suppressed_token_ids.ids[1]"), "--suppress-tokens");
  EXPECT_EQ(FlagOfField("options.long_document_policy"), "--long-document-policy");
  EXPECT_EQ(FlagOfField("text"), "");
  EXPECT_EQ(FlagOfField("token_ids.ids[2]"), "");
}

}  // namespace
}  // namespace precis::cli
