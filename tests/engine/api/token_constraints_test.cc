// What may be forced and forbidden, and whose word holds.
#include "engine/api/generation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Words = std::vector<std::vector<uint32_t>>;

StatusOr<ResolvedOptions> Resolve(const GenerationOverrides& request,
                                  const GenerationOverrides& checkpoint = {},
                                  uint32_t vocab_size = 544, uint32_t end_tokens = 1) {
  const GenerationLimits limits{
      .max_new_tokens = 200, .vocab_size = vocab_size, .end_tokens = end_tokens};
  return ResolveOptions(GenerationDefaults{checkpoint, {}}, request, limits, 0);
}

// The field that refused; "" if nothing did.
std::string Refusal(const GenerationOverrides& request, uint32_t vocab_size = 544) {
  const auto resolved = Resolve(request, {}, vocab_size);
  return resolved.ok() ? "" : FieldOf(resolved.status()).value_or("no field");
}

TEST(TokenConstraints, NobodyForcesOrForbidsByDefault) {
  const auto resolved = Resolve({});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(resolved->options.forced_bos_token_ids, IsEmpty());
  EXPECT_THAT(resolved->options.forced_eos_token_ids, IsEmpty());
  EXPECT_THAT(resolved->options.suppressed_token_ids, IsEmpty());
  EXPECT_THAT(resolved->options.bad_words, IsEmpty());
}

TEST(TokenConstraints, TheRequestSpeaksBeforeTheCheckpointAndMaySayNone) {
  const GenerationOverrides checkpoint{.forced_bos_token_ids = {{3}},
                                       .forced_eos_token_ids = {{1}},
                                       .suppressed_token_ids = {{5, 6}},
                                       .bad_words = Words{{7}, {8, 9}}};
  auto resolved = Resolve({}, checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(resolved->options.forced_bos_token_ids, ElementsAre(3));
  EXPECT_THAT(resolved->options.forced_eos_token_ids, ElementsAre(1));
  EXPECT_THAT(resolved->options.suppressed_token_ids, ElementsAre(5, 6));
  EXPECT_THAT(resolved->options.bad_words, ElementsAre(ElementsAre(7), ElementsAre(8, 9)));

  resolved = Resolve({.forced_bos_token_ids = {{0}},
                      .suppressed_token_ids = {std::vector<uint32_t>{}},
                      .bad_words = Words{}},
                     checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(resolved->options.forced_bos_token_ids, ElementsAre(0)) << "0 is a value";
  EXPECT_THAT(resolved->options.forced_eos_token_ids, ElementsAre(1));
  EXPECT_THAT(resolved->options.suppressed_token_ids, IsEmpty());
  EXPECT_THAT(resolved->options.bad_words, IsEmpty());
}

TEST(TokenConstraints, IdsOutsideTheVocabularyAreNamedByPlace) {
  EXPECT_EQ(Refusal({.forced_bos_token_ids = {{543}}, .forced_eos_token_ids = {{543}}}), "");
  EXPECT_EQ(Refusal({.forced_bos_token_ids = {{544}}}), "options.forced_bos_token_id");
  EXPECT_EQ(Refusal({.forced_eos_token_ids = {{0xffffffff}}}), "options.forced_eos_token_id");
  EXPECT_EQ(Refusal({.suppressed_token_ids = {{1, 543, 544}}}),
            "options.suppressed_token_ids.ids[2]");
  EXPECT_EQ(Refusal({.bad_words = Words{{1}, {2}, {3}, {4, 544}}}), "options.bad_words[3].ids[1]");
}

TEST(TokenConstraints, ListsHaveLimits) {
  EXPECT_EQ(Refusal({.suppressed_token_ids = std::vector<uint32_t>(1024, 5)}), "");
  EXPECT_EQ(Refusal({.suppressed_token_ids = std::vector<uint32_t>(1025, 5)}),
            "options.suppressed_token_ids");
  EXPECT_EQ(Refusal({.bad_words = Words(1024, {5})}), "");
  EXPECT_EQ(Refusal({.bad_words = Words(1025, {5})}), "options.bad_words");
  EXPECT_EQ(Refusal({.bad_words = Words{std::vector<uint32_t>(64, 5)}}), "");
  EXPECT_EQ(Refusal({.bad_words = Words{std::vector<uint32_t>(65, 5)}}), "options.bad_words[0]");
  EXPECT_EQ(Refusal({.bad_words = Words{{5}, {}}}), "options.bad_words[1]");
}

TEST(TokenConstraints, AForcedTokenMayNotBeSuppressed) {
  EXPECT_EQ(Refusal({.forced_bos_token_ids = {{5}}, .suppressed_token_ids = {{4, 5}}}),
            "options.forced_bos_token_id");
  EXPECT_EQ(Refusal({.forced_eos_token_ids = {{4}}, .suppressed_token_ids = {{4, 5}}}),
            "options.forced_eos_token_id");
  EXPECT_EQ(Refusal({.forced_bos_token_ids = {{5}}, .bad_words = Words{{5}}}), "")
      << "what is forced is not asked whether it is bad";
  EXPECT_FALSE(Resolve({.suppressed_token_ids = {{5}}}, {.forced_bos_token_ids = {{5}}}).ok());
}

TEST(TokenConstraints, OfSeveralForcedTokensOneMustRemain) {
  const GenerationOverrides checkpoint{.forced_eos_token_ids = {{1, 4}}};
  const auto resolved = Resolve({.suppressed_token_ids = {{4}}}, checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(resolved->options.forced_eos_token_ids, ElementsAre(1, 4));
  EXPECT_THAT(resolved->warnings,
              ElementsAre("the checkpoint forces the last token to be one of 1, 4"));
  EXPECT_FALSE(Resolve({.suppressed_token_ids = {{1, 4}}}, checkpoint).ok());
}

TEST(TokenConstraints, SomethingBesidesTheEndMustRemain) {
  constexpr uint32_t kTiny = 4;
  EXPECT_EQ(Refusal({.suppressed_token_ids = {{0, 2}}}, kTiny), "");
  EXPECT_EQ(Refusal({.suppressed_token_ids = {{0, 0, 2, 2}}, .bad_words = Words{{3, 3}}}, kTiny),
            "");
  EXPECT_EQ(Refusal({.suppressed_token_ids = {{0, 2, 3}}}, kTiny), "options.suppressed_token_ids");
  EXPECT_EQ(Refusal({.bad_words = Words{{0}, {2}, {3}}}, kTiny), "options.bad_words");
  EXPECT_TRUE(Resolve({.suppressed_token_ids = {{0}}}, {}, kTiny, /*end_tokens=*/2).ok());
  EXPECT_FALSE(Resolve({.suppressed_token_ids = {{0, 2}}}, {}, kTiny, /*end_tokens=*/2).ok());
  EXPECT_TRUE(Resolve({.suppressed_token_ids = {{0, 2, 3}}}, {}, kTiny, /*end_tokens=*/0).ok());
}

}  // namespace
}  // namespace precis
