// Same bits whatever the neighbours: the scores that every step chooses from, taken down bit by bit
// for each request alone, are found again when all run together, in other orders of arrival, beside
// beams, with drafts, with encoder work sliced finely, and from the cache. Only the scores' bits
// count, not their places: a row is known by a hash of all its bits.
#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "engine/load/load_model.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

using RowHashes = std::set<size_t>;

// Takes down the rows that tokens are chosen from, without the scores that processing may change.
class ScoreRecorder final : public OpObserver {
 public:
  explicit ScoreRecorder(RowHashes* rows) : rows_(rows) {}
  bool Begin(const OpCall& op) override {
    if (const auto* p = op.As<ReduceScoresParams>()) {
      for (size_t i = 0; i < p->rows.size(); ++i) {
        rows_->insert(std::hash<std::string_view>()(
            {reinterpret_cast<const char*>(p->scores + i * p->count), p->count * sizeof(float)}));
      }
    }
    return true;
  }

 private:
  RowHashes* const rows_;  // the step thread's while the engine runs
};

struct Request {
  std::vector<int32_t> source;
  GenerationOptions options;
};

// `longest`: tokens of a source.
std::vector<Request> Requests(uint32_t vocab, uint32_t longest) {
  std::mt19937 rng(7);
  const auto below = [&rng](uint32_t n) {
    return std::uniform_int_distribution<uint32_t>(0, n - 1)(rng);
  };
  const uint32_t beams[] = {1, 4, 1, 1, 3, 1, 16, 1, 1, 2, 1, 1};
  std::vector<Request> requests;
  for (uint32_t i = 0; i < std::size(beams); ++i) {
    Request r;
    const uint32_t length = std::min(longest, i % 3 == 0 ? 200 + below(150) : 3 + below(60));
    // Few different tokens, so that drafts are found.
    for (uint32_t j = 0; j + 1 < length; ++j) {
      r.source.push_back(static_cast<int32_t>(3 + below(i % 2 == 0 ? 12 : vocab - 60)));
    }
    r.source.push_back(1);
    r.options.max_new_tokens = 20 + below(20);
    r.options.num_beams = beams[i];
    r.options.drafting = Drafting::kOff;
    r.options.noise_seed = i / 2;
    if (i % 4 == 2) {
      r.options.temperature = 0.8f;
      r.options.seed = i;
    }
    if (i % 4 == 3) {
      r.options.repetition_penalty = 1.3f;
      r.options.no_repeat_ngram_size = 3;
    }
    requests.push_back(std::move(r));
  }
  return requests;
}

struct Outcome {
  RowHashes rows;
  std::vector<std::vector<int32_t>> tokens;  // by request; of beams those of the best
};

struct Pattern {
  const char* name;
  std::vector<size_t> order;  // of arrival
  uint32_t max_batch = 64;
  uint32_t slice_rows = 256;
  bool drafts = false;
  bool pauses = false;  // between arrivals
};

// Directory, type of weights, type of keys and values.
using Checkpoint = std::tuple<const char*, const char*, const char*>;

class BatchInvariance : public testing::TestWithParam<Checkpoint> {
 protected:
  Outcome Run(const std::vector<Request>& requests, const Pattern& pattern) {
    Outcome out;
    EngineOptions options;
    options.model_dir = std::get<0>(GetParam());
    options.dtype = std::get<1>(GetParam());
    options.kv_dtype = std::get<2>(GetParam());
    options.pool_bytes = 64u << 20;
    options.max_source_tokens = 512;
    options.max_new_tokens = 64;
    options.max_batch = pattern.max_batch;
    options.encode_slice_rows = pattern.slice_rows;
    BackendOptions backend;
    backend.threads = 2;
    ScoreRecorder recorder(&out.rows);
    auto device = MakeBackend(backend).value();
    device->set_observer(&recorder);
    auto loaded = LoadModelOn(std::move(device), options);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    auto engine =
        Engine::CreateWithRunner(
            loaded->options, std::make_unique<StepRunner>(std::move(loaded->parts)), loaded->info)
            .value();
    std::vector<BlockingRun> runs;
    for (const size_t i : pattern.order) {
      GenerationOptions generation = requests[i].options;
      if (pattern.drafts) generation.drafting = Drafting::kPromptLookup;
      runs.push_back(BlockingRun::Submit(*engine, requests[i].source, generation).value());
      if (pattern.pauses) std::this_thread::sleep_for(std::chrono::milliseconds(i % 5));
    }
    out.tokens.resize(requests.size());
    for (size_t k = 0; k < runs.size(); ++k) {
      RunResult result = runs[k].Wait();
      EXPECT_TRUE(result.status.ok()) << result.status;
      if (!result.hypotheses.empty()) result.tokens = result.hypotheses[0].tokens;
      out.tokens[pattern.order[k]] = std::move(result.tokens);
    }
    engine->Stop();
    return out;
  }
};

TEST_P(BatchInvariance, ScoresHaveTheSameBitsInEveryBatchAndArrivalPattern) {
  const bool int8 = std::string(std::get<1>(GetParam())) == "int8";
  if (int8 &&
      !MakeBackend({}).value()->Pack({"probe", std::vector<float>(1), 1, 1, DType::kI8, 1}).ok()) {
    GTEST_SKIP() << "no int8 weights on this CPU";
  }
  const auto config = LoadModelConfig(std::get<0>(GetParam()));
  ASSERT_TRUE(config.ok()) << config.status();
  const uint32_t positions = config->encoder.max_positions;
  const std::vector<Request> requests = Requests(544, positions == 0 ? 512 : positions);
  std::vector<Outcome> alone;
  std::vector<size_t> all;
  for (size_t i = 0; i < requests.size(); ++i) {
    alone.push_back(Run(requests, {.name = "alone", .order = {i}}));
    ASSERT_GE(alone[i].rows.size(), alone[i].tokens[i].size() / 2);
    all.push_back(i);
  }
  const std::vector<size_t> backwards(all.rbegin(), all.rend());
  std::vector<size_t> twice = all;  // the second time from the cache
  twice.insert(twice.end(), all.begin(), all.end());
  const Pattern patterns[] = {
      {.name = "together", .order = all},
      {.name = "backwards, with pauses", .order = backwards, .pauses = true},
      {.name = "in few rows", .order = all, .max_batch = 17},
      {.name = "in fine slices", .order = backwards, .slice_rows = 64},
      {.name = "with drafts", .order = all, .drafts = true},
      {.name = "twice, with drafts and pauses", .order = twice, .drafts = true, .pauses = true},
  };
  for (const Pattern& pattern : patterns) {
    const Outcome mixed = Run(requests, pattern);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(mixed.tokens[i], alone[i].tokens[i]) << pattern.name << ", request " << i;
      size_t missing = 0;
      for (const size_t row : alone[i].rows) missing += mixed.rows.contains(row) ? 0 : 1;
      EXPECT_EQ(missing, 0u) << pattern.name << ", request " << i << ": of " << alone[i].rows.size()
                             << " rows of scores";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Checkpoints, BatchInvariance,
    testing::Values(Checkpoint{"tests/golden/odd_shapes", "auto", "auto"},
                    Checkpoint{"tests/golden/wgqa_g2", "auto", "auto"},
                    Checkpoint{"tests/golden/t5_v11_gated_untied", "auto", "auto"},
                    Checkpoint{"tests/golden/families/bart_cnn", "auto", "auto"},
                    Checkpoint{"tests/golden/families/distilbart", "f32", "f32"},
                    Checkpoint{"tests/golden/families/bart_cnn", "int8", "int8"},
                    Checkpoint{"tests/golden/kdgqa_g4", "f32", "f32"},
                    Checkpoint{"tests/golden/kdgqa_g4", "auto", "int8"},
                    Checkpoint{"tests/golden/dgqa_diff_g2", "f32", "bf16"},
                    Checkpoint{"tests/golden/pgqa_g2", "auto", "auto"},
                    Checkpoint{"tests/golden/odd_shapes", "auto", "int8"},
                    Checkpoint{"tests/golden/wgqa_g2", "int8", "int8"},
                    Checkpoint{"tests/golden/t5_v11_gated_untied", "int8", "auto"}),
    [](const auto& test) {
      const std::string path = std::get<0>(test.param);
      return path.substr(path.rfind('/') + 1) + "_" + std::get<1>(test.param) + "_kv_" +
             std::get<2>(test.param);
    });

}  // namespace
}  // namespace precis
