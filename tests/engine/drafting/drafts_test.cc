// Text with drafts equals text without, and the numbers behind it are the same bits: greedy and
// sampled, whatever the options, the drafts, and the neighbours.
#include <cstring>

#include "engine/load/load_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/drafting/drafts_testing.h"

namespace precis {
namespace {

enum class Drafts { kNone, kAnswers, kLookup };

struct Request {
  Ids source;
  GenerationOptions options;
};

struct Outcome {
  std::vector<Ids> tokens;
  std::vector<FinishReason> reasons;
  std::vector<std::vector<Hypothesis>> hypotheses;
  Scores scores;
  EngineStats stats;
};

Ids Source(uint32_t seed, uint32_t length, uint32_t words) {
  Ids ids;
  uint32_t h = seed * 2654435761u + 1;
  for (uint32_t i = 1; i < length; ++i) {
    h = h * 1664525u + 1013904223u;
    ids.push_back(static_cast<int32_t>(3 + (h >> 8) % words));
  }
  ids.push_back(1);
  return ids;
}

// The seed of a request is its index: the answers of AnswerSource go by it.
std::vector<Request> Requests(uint32_t words) {
  std::vector<GenerationOptions> kinds(9);
  kinds[1].temperature = 0.8f;
  kinds[2].temperature = 1.2f;
  kinds[2].top_k = 20;
  kinds[3].temperature = 0.7f;
  kinds[3].top_p = 0.9f;
  kinds[4].repetition_penalty = 1.4f;
  kinds[5].no_repeat_ngram_size = 2;
  kinds[6].min_new_tokens = 30;
  kinds[7].temperature = 0.9f;
  kinds[7].repetition_penalty = 1.2f;
  kinds[7].no_repeat_ngram_size = 3;
  kinds[7].min_new_tokens = 12;
  kinds[8].num_beams = 3;
  std::vector<Request> out;
  for (uint32_t i = 0; i < 14; ++i) {
    GenerationOptions options = kinds[i % kinds.size()];
    options.seed = options.noise_seed = i;
    options.max_new_tokens = i % 4 == 3 ? 5 : 40;
    out.push_back({Source(i, 5 + 23 * (i % 5), words), options});
  }
  return out;
}

EngineOptions OptionsFor(const std::string& dir, const std::string& backend) {
  EngineOptions options;
  options.model_dir = dir;
  options.device = backend;
  options.dtype = "f32";
  options.threads = 2;
  options.max_batch = 40;
  options.max_sequences = 32;
  options.max_source_tokens = 256;
  options.max_new_tokens = 64;
  options.pool_bytes = 64u << 20;
  return options;
}

std::unique_ptr<Drafter> MakeDrafter(const EngineOptions& options, Drafts drafts,
                                     const std::vector<Ids>& answers, uint32_t vocab_size) {
  std::unique_ptr<DraftSource> source;
  if (drafts == Drafts::kAnswers) {
    source = std::make_unique<AnswerSource>(answers, options.max_sequences, vocab_size);
  } else {
    source = std::make_unique<PromptLookups>(options.max_sequences);
  }
  return std::make_unique<Drafter>(options.max_sequences, options.max_batch, std::move(source),
                                   std::make_unique<EagerPolicy>());
}

// All requests at once, or one after the other.
Outcome RunAll(const EngineOptions& options, std::vector<Request> requests, Drafts drafts,
               bool at_once, const std::vector<Ids>& answers = {}) {
  Outcome out;
  std::vector<std::vector<float>> rows;
  auto backend = MakeBackend({options.device, "auto", options.threads}).value();
  ScoresObserver observer(&rows);
  backend->set_observer(&observer);
  auto loaded = LoadModelOn(std::move(backend), options).value();
  loaded.parts.drafter = MakeDrafter(options, drafts, answers, loaded.info.vocab_size);
  auto engine =
      Engine::CreateWithRunner(
          options, std::make_unique<ScoresRunner>(std::move(loaded.parts), &rows, &out.scores),
          loaded.info)
          .value();
  std::vector<BlockingRun> runs;
  const auto wait = [&] {
    for (BlockingRun& run : runs) {
      RunResult result = run.Wait();
      EXPECT_TRUE(result.status.ok()) << result.status;
      out.tokens.push_back(std::move(result.tokens));
      out.reasons.push_back(result.reason);
      out.hypotheses.push_back(std::move(result.hypotheses));
    }
    runs.clear();
  };
  for (Request& request : requests) {
    request.options.drafting = drafts == Drafts::kNone ? Drafting::kOff : Drafting::kPromptLookup;
    runs.push_back(BlockingRun::Submit(*engine, request.source, request.options).value());
    if (!at_once) wait();
  }
  wait();
  out.stats = engine->stats();
  engine->Stop();
  return out;
}

void ExpectSame(const Outcome& got, const Outcome& want) {
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_EQ(got.reasons, want.reasons);
  ASSERT_EQ(got.hypotheses.size(), want.hypotheses.size());
  for (size_t i = 0; i < got.hypotheses.size(); ++i) {
    ASSERT_EQ(got.hypotheses[i].size(), want.hypotheses[i].size());
    for (size_t j = 0; j < got.hypotheses[i].size(); ++j) {
      EXPECT_EQ(got.hypotheses[i][j].tokens, want.hypotheses[i][j].tokens);
    }
  }
  ASSERT_EQ(got.scores.size(), want.scores.size());
  for (const auto& [key, scores] : want.scores) {
    const std::vector<float>& other = got.scores.at(key);
    ASSERT_EQ(std::memcmp(other.data(), scores.data(), scores.size() * sizeof(float)), 0)
        << "request " << key.first << ", position " << key.second;
  }
}

class TextWithDrafts : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(TextWithDrafts, EqualsTextWithout) {
  const auto& [dir, backend] = GetParam();
  const EngineOptions options = OptionsFor(dir, backend);
  const std::vector<Request> requests = Requests(300);
  const Outcome off = RunAll(options, requests, Drafts::kNone, false);
  EXPECT_EQ(off.stats.drafted_tokens, 0u);

  const Outcome answers = RunAll(options, requests, Drafts::kAnswers, true, off.tokens);
  ExpectSame(answers, off);
  EXPECT_GT(answers.stats.accepted_tokens, 50u);
  EXPECT_GT(answers.stats.drafted_tokens - answers.stats.accepted_tokens, 50u);
  EXPECT_LT(answers.stats.decode_steps, off.stats.decode_steps);

  const Outcome alone = RunAll(options, requests, Drafts::kAnswers, false, off.tokens);
  ExpectSame(alone, off);

  const Outcome lookup = RunAll(options, requests, Drafts::kLookup, true);
  ExpectSame(lookup, off);
  EXPECT_GT(lookup.stats.drafted_tokens, 0u);
}

// Rows for some drafts only, and now and then for none.
TEST_P(TextWithDrafts, EqualsTextWithoutWhereRowsAreFew) {
  const auto& [dir, backend] = GetParam();
  EngineOptions options = OptionsFor(dir, backend);
  options.max_batch = 9;
  const std::vector<Request> requests = Requests(300);
  const Outcome off = RunAll(options, requests, Drafts::kNone, true);
  const Outcome on = RunAll(options, requests, Drafts::kAnswers, true, off.tokens);
  ExpectSame(on, off);
  EXPECT_GT(on.stats.accepted_tokens, 0u);
}

TEST_P(TextWithDrafts, BeamsDoNotDraft) {
  const auto& [dir, backend] = GetParam();
  std::vector<Request> requests = Requests(300);
  std::erase_if(requests, [](const Request& r) { return r.options.num_beams == 1; });
  ASSERT_FALSE(requests.empty());
  const Outcome on = RunAll(OptionsFor(dir, backend), requests, Drafts::kLookup, true);
  EXPECT_EQ(on.stats.drafted_tokens, 0u);
}

std::string Name(const testing::TestParamInfo<std::pair<const char*, const char*>>& info) {
  const std::string dir = info.param.first;
  return dir.substr(dir.rfind('/') + 1) + "_" + info.param.second;
}
INSTANTIATE_TEST_SUITE_P(Ref, TextWithDrafts,
                         testing::Values(std::pair("tests/golden/wgqa_g2", "ref"),
                                         std::pair("tests/golden/dgqa_ema_g2", "ref"),
                                         std::pair("tests/golden/odd_shapes", "ref")),
                         Name);
#if PRECIS_TEST_CPU_BACKEND
INSTANTIATE_TEST_SUITE_P(Cpu, TextWithDrafts,
                         testing::Values(std::pair("tests/golden/wgqa_g2", "cpu"),
                                         std::pair("tests/golden/odd_shapes", "cpu"),
                                         std::pair("tests/golden/qcqa", "cpu"),
                                         std::pair("tests/golden/mqa", "cpu"),
                                         std::pair("tests/golden/kdgqa_g4", "cpu"),
                                         std::pair("tests/golden/pgqa_g2", "cpu"),
                                         std::pair("tests/golden/t5_v11_gated_untied", "cpu"),
                                         std::pair("models/demo", "cpu")),
                         Name);
#endif

}  // namespace
}  // namespace precis
