// What passes validation is served: every float option at the ends of its range, with every other
// option at its own ends, ends with tokens and finite scores; what lies beyond is refused by name.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

constexpr float kLeast = std::numeric_limits<float>::denorm_min();
constexpr uint32_t kMaxNewTokens = 5;

class OptionEnds : public testing::Test {
 protected:
  OptionEnds() {
    EngineOptions options;
    options.model_dir = "tests/golden/mqa";
    options.device = "ref";
    options.threads = 1;
    options.max_batch = 32;
    options.max_source_tokens = 16;
    options.max_new_tokens = kMaxNewTokens;
    options.pool_bytes = 8u << 20;
    engine_ = Engine::Create(options).value();
  }

  StatusOr<ResolvedOptions> Resolve(const GenerationOverrides& overrides) const {
    return ResolveOptions(engine_->info().defaults, overrides, engine_->generation_limits(), 7);
  }

  static std::string Words(const GenerationOverrides& o) {
    const auto number = [](auto value) { return value ? fmt::format("{}", *value) : "-"; };
    return fmt::format(
        "temperature {} top_k {} top_p {} beams {} length_penalty {} penalty {} "
        "ngram {} min {} suppressed {}",
        number(o.temperature), number(o.top_k), number(o.top_p), number(o.num_beams),
        number(o.length_penalty), number(o.repetition_penalty), number(o.no_repeat_ngram_size),
        number(o.min_new_tokens), o.suppressed_token_ids ? o.suppressed_token_ids->size() : 0);
  }

  void ExpectServed(const GenerationOverrides& overrides) {
    SCOPED_TRACE(Words(overrides));
    const auto resolved = Resolve(overrides);
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    auto run = BlockingRun::Submit(*engine_, {5, 6, 7, 1}, resolved->options);
    ASSERT_TRUE(run.ok()) << run.status();
    const RunResult result = run->Wait();
    ASSERT_TRUE(result.status.ok()) << result.status;
    if (resolved->options.num_beams > 1) {
      EXPECT_GE(result.hypotheses.size(), 1u);
    }
    for (const Hypothesis& h : result.hypotheses) EXPECT_TRUE(std::isfinite(h.score)) << h.score;
    ++served_;
  }

  std::unique_ptr<Engine> engine_;
  size_t served_ = 0;
};

// Penalties, n-grams and lengths, which every way of decoding has.
std::vector<GenerationOverrides> CommonEnds(uint32_t vocab_size) {
  std::vector<GenerationOverrides> out;
  std::vector<uint32_t> all_but_two;
  for (uint32_t id = 2; id < vocab_size; ++id) all_but_two.push_back(id);
  for (const float penalty : {kLeast, 1e-38f, 1.0f, 100.0f}) {
    for (const uint32_t ngram : {0u, 1u, 1024u}) {
      for (const uint32_t min : {0u, kMaxNewTokens}) {
        GenerationOverrides o;
        o.max_new_tokens = kMaxNewTokens;
        o.repetition_penalty = penalty;
        o.no_repeat_ngram_size = ngram;
        o.min_new_tokens = min;
        out.push_back(o);
        if (ngram == 1024) continue;
        o.suppressed_token_ids = all_but_two;  // one token is left, and the end
        out.push_back(o);
      }
    }
  }
  return out;
}

TEST_F(OptionEnds, GreedyIsServed) {
  for (GenerationOverrides o : CommonEnds(engine_->info().vocab_size)) {
    for (const float length_penalty : {-1000.0f, 1000.0f}) {
      o.num_beams = 1;
      o.length_penalty = length_penalty;  // nobody's, but it passes
      ExpectServed(o);
    }
  }
  EXPECT_EQ(served_, 80u);
}

TEST_F(OptionEnds, SamplesAreServed) {
  const uint32_t vocab_size = engine_->info().vocab_size;
  for (GenerationOverrides o : CommonEnds(vocab_size)) {
    for (const float temperature : {kLeast, 100.0f}) {
      for (const uint32_t top_k : {0u, 1u, vocab_size}) {
        for (const float top_p : {kLeast, 1.0f}) {
          o.num_beams = 1;
          o.temperature = temperature;
          o.top_k = top_k;
          o.top_p = top_p;
          ExpectServed(o);
        }
      }
    }
  }
  EXPECT_EQ(served_, 480u);
}

TEST_F(OptionEnds, BeamsAreServed) {
  for (GenerationOverrides o : CommonEnds(engine_->info().vocab_size)) {
    for (const float length_penalty : {-1000.0f, 0.0f, 1000.0f}) {
      for (const auto early :
           {EarlyStopping::kFalse, EarlyStopping::kTrue, EarlyStopping::kNever}) {
        o.num_beams = 3;
        o.num_return_sequences = 3;
        o.length_penalty = length_penalty;
        o.early_stopping = early;
        ExpectServed(o);
      }
    }
  }
  EXPECT_EQ(served_, 360u);
}

TEST_F(OptionEnds, ATemperatureOfNearlyNothingIsGreedy) {
  GenerationOverrides o;
  o.max_new_tokens = kMaxNewTokens;
  const auto tokens = [&] {
    return BlockingRun::Submit(*engine_, {5, 6, 7, 1}, Resolve(o)->options)->Wait().tokens;
  };
  const std::vector<int32_t> greedy = tokens();
  for (const float temperature : {kLeast, 1e-40f, 1e-38f}) {
    o.temperature = temperature;
    EXPECT_EQ(tokens(), greedy) << temperature;
  }
}

TEST_F(OptionEnds, WhatLiesBeyondIsRefusedByName) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  struct Option {
    std::optional<float> GenerationOverrides::*member;
    const char* field;
    std::vector<float> beyond;
  };
  const Option options[] = {
      {&GenerationOverrides::length_penalty,
       "options.length_penalty",
       {std::nextafter(1000.0f, kInfinity), std::nextafter(-1000.0f, -kInfinity)}},
      {&GenerationOverrides::repetition_penalty,
       "options.repetition_penalty",
       {0.0f, -kLeast, std::nextafter(100.0f, kInfinity)}},
      {&GenerationOverrides::temperature,
       "options.temperature",
       {-kLeast, std::nextafter(100.0f, kInfinity)}},
      {&GenerationOverrides::top_p,
       "options.top_p",
       {0.0f, -kLeast, std::nextafter(1.0f, kInfinity)}},
  };
  for (const Option& option : options) {
    std::vector<float> values = option.beyond;
    values.insert(values.end(), {kNan, kInfinity, -kInfinity});
    for (const float value : values) {
      GenerationOverrides o;
      o.temperature = 1.0f;
      o.*option.member = value;
      EXPECT_EQ(FieldOf(Resolve(o).status()), option.field) << value;
    }
  }
}

}  // namespace
}  // namespace precis
