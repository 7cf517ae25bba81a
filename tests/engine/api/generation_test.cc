#include "engine/api/generation.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kSeed = 4711;

StatusOr<ResolvedOptions> Resolve(const GenerationOverrides& request,
                                  const GenerationOverrides& checkpoint = {}) {
  const GenerationLimits limits{.max_new_tokens = 200, .vocab_size = 544};
  return ResolveOptions(GenerationDefaults{checkpoint, {}}, request, limits, kSeed);
}

// The field that refused, with the code; "" if nothing did.
std::string Refusal(const GenerationOverrides& request) {
  const auto resolved = Resolve(request);
  if (resolved.ok()) return "";
  const bool unimplemented = resolved.status().code() == absl::StatusCode::kUnimplemented;
  return FieldOf(resolved.status()).value_or("no field") + (unimplemented ? " unimplemented" : "");
}

TEST(ResolveOptions, NewTokensAndTheStartTokenMustHavePositions) {
  const auto resolve = [](uint32_t max_new_tokens) {
    GenerationOverrides request;
    request.max_new_tokens = max_new_tokens;
    const GenerationLimits limits{.max_new_tokens = 63, .vocab_size = 544, .max_positions = 64};
    return ResolveOptions(GenerationDefaults(), request, limits, kSeed);
  };
  EXPECT_TRUE(resolve(63).ok()) << resolve(63).status();
  EXPECT_EQ(FieldOf(resolve(64).status()), "options.max_new_tokens");
  EXPECT_THAT(std::string(resolve(64).status().message()),
              HasSubstr("64 and the start token are more than the 64 positions of the model's "
                        "decoder; at most 63 are possible"));
}

TEST(ResolveOptions, OursHoldWhenNobodySpeaks) {
  const auto resolved = Resolve({});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.max_new_tokens, 128u);
  EXPECT_EQ(resolved->options.min_new_tokens, 0u);
  EXPECT_FALSE(resolved->options.Samples());
  EXPECT_EQ(resolved->options.seed, 0u);
  EXPECT_EQ(resolved->options.noise_seed, 0u);
  EXPECT_EQ(resolved->options.prefix, "");
  EXPECT_EQ(resolved->prefix_from, ResolvedOptions::PrefixFrom::kNone);
  EXPECT_THAT(resolved->warnings, IsEmpty());
}

TEST(ResolveOptions, OwnDefaultObeysASmallerServerLimitInSilence) {
  const auto resolved = ResolveOptions({}, {}, {.max_new_tokens = 20, .vocab_size = 10}, 0);
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->options.max_new_tokens, 20u);
  EXPECT_THAT(resolved->warnings, IsEmpty());
}

TEST(ResolveOptions, TheCheckpointSpeaksBeforeUsAndTheRequestBeforeIt) {
  const GenerationOverrides checkpoint{.max_new_tokens = 48,
                                       .min_new_tokens = 4,
                                       .length_penalty = 2.0f,
                                       .early_stopping = EarlyStopping::kTrue,
                                       .no_repeat_ngram_size = 3,
                                       .repetition_penalty = 1.5f,
                                       .prefix = "summarize: "};
  auto resolved = Resolve({}, checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.max_new_tokens, 48u);
  EXPECT_EQ(resolved->options.min_new_tokens, 4u);
  EXPECT_EQ(resolved->options.length_penalty, 2.0f);
  EXPECT_EQ(resolved->options.early_stopping, EarlyStopping::kTrue);
  EXPECT_EQ(resolved->options.no_repeat_ngram_size, 3u);
  EXPECT_EQ(resolved->options.repetition_penalty, 1.5f);
  EXPECT_EQ(resolved->options.prefix, "summarize: ");
  EXPECT_EQ(resolved->prefix_from, ResolvedOptions::PrefixFrom::kCheckpoint);

  resolved = Resolve({.max_new_tokens = 9,
                      .min_new_tokens = 0,
                      .no_repeat_ngram_size = 0,
                      .repetition_penalty = 1.0f,
                      .prefix = ""},
                     checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.max_new_tokens, 9u);
  EXPECT_EQ(resolved->options.min_new_tokens, 0u) << "0 is a value";
  EXPECT_EQ(resolved->options.no_repeat_ngram_size, 0u);
  EXPECT_EQ(resolved->options.repetition_penalty, 1.0f);
  EXPECT_EQ(resolved->options.prefix, "") << "an empty prefix is a prefix";
  EXPECT_EQ(resolved->prefix_from, ResolvedOptions::PrefixFrom::kRequest);
}

TEST(ResolveOptions, CapsTheCheckpointAndSaysSo) {
  const auto resolved = Resolve({}, {.max_new_tokens = 5000});
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->options.max_new_tokens, 200u);
  EXPECT_THAT(resolved->warnings, ElementsAre(HasSubstr("max_new_tokens 5000")));
}

TEST(ResolveOptions, ARequestedMaximumBeatsTheCheckpointsMinimum) {
  const auto resolved = Resolve({.max_new_tokens = 10}, {.min_new_tokens = 30});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.min_new_tokens, 10u);
  EXPECT_THAT(resolved->warnings, ElementsAre(HasSubstr("min_new_tokens 30")));
}

TEST(ResolveOptions, ARequestedMinimumMustFitTheMaximum) {
  EXPECT_EQ(FieldOf(Resolve({.min_new_tokens = 60}, {.max_new_tokens = 48}).status()),
            "options.min_new_tokens");
  EXPECT_EQ(Refusal({.max_new_tokens = 5, .min_new_tokens = 6}), "options.min_new_tokens");
  EXPECT_EQ(Refusal({.max_new_tokens = 6, .min_new_tokens = 6}), "");
}

TEST(ResolveOptions, BeamsComeFromTheRequestElseFromTheCheckpoint) {
  EXPECT_EQ(Refusal({.num_beams = 4}), "");
  EXPECT_EQ(Refusal({.num_beams = 17}), "options.num_beams");
  EXPECT_EQ(Refusal({.num_beams = 0}), "options.num_beams");
  EXPECT_EQ(Refusal({.num_return_sequences = 2}), "options.num_return_sequences");
  EXPECT_EQ(Refusal({.num_beams = 3, .num_return_sequences = 3}), "");
  EXPECT_EQ(Refusal({.num_beams = 3, .num_return_sequences = 4}), "options.num_return_sequences");
  EXPECT_EQ(Refusal({.num_beams = 3, .temperature = 0.5f}), "options.num_beams unimplemented");
  const GenerationOverrides checkpoint{.num_beams = 4, .num_return_sequences = 2};
  auto resolved = Resolve({}, checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.num_beams, 4u);
  EXPECT_EQ(resolved->options.num_return_sequences, 2u);
  EXPECT_THAT(resolved->warnings, IsEmpty());
  resolved = Resolve({.num_beams = 1}, checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.num_return_sequences, 1u) << "no more than there are beams";
  resolved = Resolve({.temperature = 0.5f}, checkpoint);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.num_beams, 1u);
  EXPECT_THAT(resolved->warnings, ElementsAre(HasSubstr("does not go with sampling")));
}

TEST(ResolveOptions, SamplingReturnsAsManySequencesAsAreAskedFor) {
  auto resolved = Resolve({.num_return_sequences = 5, .temperature = 0.5f});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.num_return_sequences, 5u);
  EXPECT_EQ(resolved->options.num_beams, 1u);
  EXPECT_EQ(Refusal({.num_return_sequences = 17, .temperature = 0.5f}),
            "options.num_return_sequences");
  resolved = Resolve({.temperature = 0.5f}, {.num_return_sequences = 99});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->options.num_return_sequences, 16u) << "the server's limit";
}

TEST(ResolveOptions, RefusesEveryNumberOutOfRangeByName) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Refusal({.max_new_tokens = 0}), "options.max_new_tokens");
  EXPECT_EQ(Refusal({.max_new_tokens = 201}), "options.max_new_tokens");
  EXPECT_EQ(Refusal({.max_new_tokens = 200}), "");
  EXPECT_EQ(Refusal({.min_new_tokens = 4000000000u}), "options.min_new_tokens");
  EXPECT_EQ(Refusal({.no_repeat_ngram_size = 1025}), "options.no_repeat_ngram_size");
  for (const float bad : {kNan, kInf, -kInf, -1.0f, 101.0f}) {
    EXPECT_EQ(Refusal({.temperature = bad}), "options.temperature") << bad;
    EXPECT_EQ(Refusal({.repetition_penalty = bad}), "options.repetition_penalty") << bad;
    EXPECT_EQ(Refusal({.temperature = 1.0f, .top_p = bad}), "options.top_p") << bad;
  }
  for (const float bad : {kNan, kInf, -kInf, 1001.0f}) {
    EXPECT_EQ(Refusal({.length_penalty = bad}), "options.length_penalty") << bad;
  }
  EXPECT_EQ(Refusal({.length_penalty = -2.0f}), "");
  EXPECT_EQ(Refusal({.repetition_penalty = 0.0f}), "options.repetition_penalty");
  EXPECT_EQ(Refusal({.temperature = 1.0f, .top_p = 0.0f}), "options.top_p");
  EXPECT_EQ(Refusal({.temperature = 1.0f, .top_k = 545}), "options.top_k");
  EXPECT_EQ(Refusal({.temperature = 100.0f, .top_k = 544, .top_p = 1.0f}), "");
}

TEST(ResolveOptions, SamplingOptionsNeedATemperature) {
  EXPECT_EQ(Refusal({.top_k = 5}), "options.top_k");
  EXPECT_EQ(Refusal({.top_p = 0.5f}), "options.top_p");
  EXPECT_EQ(Refusal({.temperature = 0.0f, .top_p = 0.5f}), "options.top_p");
  EXPECT_EQ(Refusal({.top_k = 0, .top_p = 1.0f}), "") << "these say nothing";
  EXPECT_EQ(Refusal({.seed = 3}), "") << "a seed is harmless";
  const auto resolved = Resolve({.top_k = 5}, {.temperature = 0.7f});
  ASSERT_TRUE(resolved.ok()) << "the checkpoint samples: " << resolved.status();
  EXPECT_EQ(resolved->options.top_k, 5u);
}

TEST(ResolveOptions, DrawsTheSeedOnlyWhenItIsUsed) {
  EXPECT_EQ(Resolve({.temperature = 1.0f})->options.seed, kSeed);
  EXPECT_EQ(Resolve({.temperature = 1.0f, .seed = 0})->options.seed, 0u);
  EXPECT_EQ(Resolve({.seed = 9})->options.seed, 9u);
  EXPECT_EQ(Resolve({.noise_seed = 9})->options.noise_seed, 9u);
}

TEST(ResolveOptions, SamplingDefaultsOfTheCheckpointWaitForATemperature) {
  const GenerationOverrides checkpoint{.top_k = 100000, .top_p = 0.9f};
  const auto greedy = Resolve({}, checkpoint);
  ASSERT_TRUE(greedy.ok());
  EXPECT_EQ(greedy->options.top_k, 0u);
  EXPECT_EQ(greedy->options.top_p, 1.0f);
  const auto sampled = Resolve({.temperature = 0.5f}, checkpoint);
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ(sampled->options.top_k, 544u) << "more than all is all";
  EXPECT_EQ(sampled->options.top_p, 0.9f);
}

TEST(ResolveOptions, TakesEightShortStopStrings) {
  const std::string longest(256, 'x');
  const auto resolved = Resolve({.stop = {"a", longest, "\xe6\x9d\xb1"}});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(resolved->options.stop, ElementsAre("a", longest, "\xe6\x9d\xb1"));
  EXPECT_EQ(Refusal({.stop = std::vector<std::string>(8, "s")}), "");
  EXPECT_EQ(Refusal({.stop = std::vector<std::string>(9, "s")}), "options.stop");
  EXPECT_EQ(Refusal({.stop = {"a", ""}}), "options.stop[1]");
  EXPECT_EQ(Refusal({.stop = {longest + "x"}}), "options.stop[0]");
}

TEST(ResolveOptions, RefusesBrokenUtf8) {
  const char* broken[] = {"\x80",
                          "\xc3",
                          "\xc0\xaf",
                          "\xe0\x80\x80",
                          "\xed\xa0\x80",
                          "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80",
                          "\xf0\x8f\xbf\xbf",
                          "a\xff",
                          "\xe6\x9d",
                          "\xe6\x9d("};
  for (const char* text : broken) {
    EXPECT_EQ(Refusal({.stop = {text}}), "options.stop[0]");
    EXPECT_EQ(Refusal({.prefix = text}), "options.prefix");
  }
  for (const char* text : {"caf\xc3\xa9", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(Refusal({.prefix = text}), "");
  }
}

TEST(ResolveOptions, BoundsThePrefix) {
  EXPECT_EQ(Refusal({.prefix = std::string(4096, 'p')}), "");
  EXPECT_EQ(Refusal({.prefix = std::string(4097, 'p')}), "options.prefix");
}

}  // namespace
}  // namespace precis
