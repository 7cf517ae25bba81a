// Tokens picked from panels are those of whole rows: penalties, bans, forced tokens, beams,
// samples.
#include "engine/decoding/token_picker.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "engine/decoding/beam_search.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "tests/engine/decoding/process_scores.h"
#include "tests/support/allocation_counter.h"

namespace precis {
namespace {

constexpr uint32_t kVocab = 300;
constexpr int32_t kEnds[] = {1, 8, 29};

struct AskedRow {
  GenerationOptions options;
  std::vector<int32_t> ids;
  std::vector<float> scores;
};

class TokenPickerTest : public testing::Test {
 protected:
  void Pick(const std::vector<AskedRow>& rows, size_t panel) {
    picker_.Clear();
    for (const AskedRow& row : rows) picker_.AddRow(row.options, row.ids);
    for (size_t first = 0; first < kVocab; first += panel) {
      const size_t count = std::min<size_t>(panel, kVocab - first);
      panel_.clear();
      for (const AskedRow& row : rows) {
        const auto at = row.scores.begin() + static_cast<ptrdiff_t>(first);
        panel_.insert(panel_.end(), at, at + static_cast<ptrdiff_t>(count));
      }
      picker_.Take(static_cast<int32_t>(first), count, panel_.data());
    }
    picker_.Finish();
  }

  const std::unique_ptr<Backend> backend_ = MakeRefBackend().value();
  TokenPicker picker_{kVocab, 16, {std::begin(kEnds), std::end(kEnds)}, *backend_};
  std::vector<float> panel_;
};

std::vector<float> LogSoftmax(const std::vector<float>& scores) {
  double sum = 0;
  for (const float score : scores) sum += std::exp(static_cast<double>(score));
  std::vector<float> out;
  for (const float score : scores) out.push_back(score - static_cast<float>(std::log(sum)));
  return out;
}

std::vector<AskedRow> RandomRows(uint32_t seed) {
  std::mt19937 rng(seed);
  const auto below = [&rng](uint32_t n) {
    return std::uniform_int_distribution<uint32_t>(0, n - 1)(rng);
  };
  std::vector<AskedRow> rows(12);
  for (AskedRow& row : rows) {
    GenerationOptions& o = row.options;
    o.max_new_tokens = 20;
    const uint32_t beams[] = {1, 2, 4, 16};
    o.num_beams = beams[below(4)];
    if (below(2) == 0) o.repetition_penalty = 1.5f;
    if (below(2) == 0) o.no_repeat_ngram_size = 1 + below(3);
    if (below(2) == 0) o.min_new_tokens = 10;
    if (below(3) == 0) o.suppressed_token_ids = {static_cast<int32_t>(below(20)), 250};
    if (below(3) == 0) o.bad_words = {{7}, {3, 4}};
    if (below(6) == 0) o.forced_bos_token_ids = {17, 40};
    if (below(6) == 0) o.forced_eos_token_ids = {2, 250};
    row.ids = {0};
    for (uint32_t i = below(20); i > 0; --i) row.ids.push_back(static_cast<int32_t>(2 + below(9)));
    for (uint32_t i = 0; i < kVocab; ++i) {
      // Best where the edits are: they decide.
      row.scores.push_back(static_cast<float>(below(1000)) * 0.01f - (i > 30 ? 4.0f : 0.0f));
    }
  }
  return rows;
}

TEST_F(TokenPickerTest, PicksWhatWholeRowsGive) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    const std::vector<AskedRow> rows = RandomRows(seed);
    Pick(rows, seed % 2 == 0 ? 64 : kVocab);
    for (size_t i = 0; i < rows.size(); ++i) {
      const bool beams = rows[i].options.num_beams > 1;
      std::vector<float> scores = beams ? LogSoftmax(rows[i].scores) : rows[i].scores;
      ProcessScores(rows[i].options, rows[i].ids, kEnds, scores);
      const auto want = BestScores(
          scores, beams ? BeamSearch::CandidatesPerBeam(rows[i].options.num_beams, 3) : 1);
      const std::span<const TokenScore> got = picker_.best(i);
      ASSERT_EQ(got.size(), want.size());
      for (size_t j = 0; j < want.size(); ++j) {
        EXPECT_NEAR(got[j].score, want[j].score, 1e-5) << seed << " row " << i << " " << j;
        // Rounding may tell apart what was equal, or make equal what was not.
        if (std::abs(scores[static_cast<size_t>(got[j].token)] - want[j].score) > 1e-5) {
          EXPECT_EQ(got[j].token, want[j].token) << seed << " row " << i << " " << j;
        }
      }
    }
  }
}

TEST_F(TokenPickerTest, KeepsAllScoresOfARowThatSamples) {
  std::vector<AskedRow> rows = RandomRows(3);
  for (AskedRow& row : rows) {
    row.options.num_beams = 1;
    row.options.temperature = 0.7f;
  }
  Pick(rows, 64);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<float> want = rows[i].scores;
    ProcessScores(rows[i].options, rows[i].ids, kEnds, want);
    EXPECT_THAT(picker_.scores(i), testing::ElementsAreArray(want)) << i;
  }
}

// One score is enough, wherever it is, in any way of decoding; rows beside it are picked as ever.
TEST_F(TokenPickerTest, TellsRowsWhoseScoresOverflowed) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float wrong : {kNan, kInfinity}) {
    for (const size_t token : {size_t{0}, size_t{5}, size_t{70}, size_t{kVocab - 1}}) {
      std::vector<AskedRow> rows = RandomRows(4);
      rows.resize(9);
      for (size_t i = 0; i < rows.size(); ++i) {
        rows[i].options = {};
        rows[i].ids = {0, 5};
        if (i % 3 == 1) rows[i].options.num_beams = 2;
        if (i % 3 == 2) rows[i].options.temperature = 1.0f;
        // The token's own score may be one that processing takes out.
        if (i >= 3) rows[i].options.repetition_penalty = 1.5f;
        if (i >= 3) rows[i].options.suppressed_token_ids = {0, kVocab - 1};
      }
      std::vector<AskedRow> sound = rows;
      for (size_t i = 0; i < 6; ++i) rows[i].scores[token] = wrong;
      Pick(sound, 64);
      std::vector<int32_t> want;
      for (size_t i = 0; i < rows.size(); ++i) want.push_back(picker_.best(i)[0].token);
      Pick(rows, 64);
      for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(picker_.is_number(i), i >= 6) << wrong << " at " << token << ", row " << i;
        if (i >= 6) {
          EXPECT_EQ(picker_.best(i)[0].token, want[i]);
        }
      }
    }
  }
}

TEST_F(TokenPickerTest, ScoresBeyondFloatAreItsEnd) {
  constexpr float kMost = std::numeric_limits<float>::max();
  AskedRow greedy{{}, {0, 5}, std::vector<float>(kVocab, 1.0f)};
  greedy.options.repetition_penalty = std::numeric_limits<float>::denorm_min();
  AskedRow beam{{}, {0}, std::vector<float>(kVocab, -kMost)};
  beam.options.num_beams = 2;
  beam.scores[7] = kMost;
  Pick({greedy, beam}, 64);
  ASSERT_TRUE(picker_.is_number(0) && picker_.is_number(1));
  EXPECT_EQ(picker_.best(0)[0].token, 0);  // as the first of several that are infinite
  EXPECT_EQ(picker_.best(0)[0].score, kMost);
  EXPECT_EQ(picker_.best(1)[0].token, 7);
  for (const TokenScore& score : picker_.best(1)) EXPECT_TRUE(std::isfinite(score.score));
}

TEST_F(TokenPickerTest, AllocatesNothingInAStep) {
  const std::vector<AskedRow> rows = RandomRows(5);
  for (const AskedRow& row : rows) picker_.Reserve(row.options);
  panel_.reserve(rows.size() * kVocab);
  EXPECT_EQ(CountAllocations([&] { Pick(rows, 64); }), 0u);
}

}  // namespace
}  // namespace precis
