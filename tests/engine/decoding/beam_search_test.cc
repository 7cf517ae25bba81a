// Beam search against beam_cases.json, which make_beam_cases.py wrote by the reference algorithm
// and compared with generate(): same ids, same scores. Then facts that no case of the file can
// show.
#include "engine/decoding/beam_search.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/decoding/process_scores.h"

namespace precis {
namespace {

using testing::ElementsAre;

constexpr int32_t kStart = 0;
constexpr int32_t kEos = 1;
constexpr int32_t kEnds[] = {kEos};

using Table = std::vector<std::vector<float>>;

// The scripted model: a row of the table by the last two tokens.
const std::vector<float>& RowOf(const Table& table, std::span<const int32_t> ids) {
  const int32_t before = ids.size() > 1 ? ids[ids.size() - 2] : 0;
  return table[static_cast<size_t>(31 * before + 7 * ids.back()) % table.size()];
}

// One step with the candidates that the model gives to each live beam.
void StepOn(const Table& table, const GenerationOptions& options, std::span<const int32_t> ends,
            BeamSearch* search) {
  std::vector<std::vector<TokenScore>> candidates(search->live());
  std::vector<std::span<const TokenScore>> rows;
  for (uint32_t beam = 0; beam < search->live(); ++beam) {
    std::vector<float> scores = RowOf(table, search->ids(beam));
    ProcessScores(options, search->ids(beam), ends, scores);
    candidates[beam] = BestScores(scores, search->candidates_per_beam());
    rows.push_back(candidates[beam]);
  }
  search->Step(rows);
}

GenerationOptions OptionsOf(const nlohmann::json& c) {
  GenerationOptions o;
  o.num_beams = c.at("num_beams");
  o.num_return_sequences = c.at("num_return_sequences");
  o.max_new_tokens = c.at("max_new_tokens");
  o.min_new_tokens = c.at("min_new_tokens");
  o.length_penalty = c.at("length_penalty");
  o.repetition_penalty = c.at("repetition_penalty");
  o.no_repeat_ngram_size = c.at("no_repeat_ngram_size");
  const std::string early = c.at("early_stopping");
  o.early_stopping = early == "true"    ? EarlyStopping::kTrue
                     : early == "never" ? EarlyStopping::kNever
                                        : EarlyStopping::kFalse;
  return o;
}

TEST(BeamSearch, GivesTheIdsAndScoresOfGenerate) {
  std::ifstream file("tests/engine/run/beam_cases.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  const auto tables = cases.at("tables").get<std::vector<Table>>();
  std::set<uint32_t> widths;
  size_t with_several_ends = 0;
  BeamSearch search;  // one for all: Start() forgets what was before
  for (const nlohmann::json& c : cases.at("cases")) {
    const GenerationOptions options = OptionsOf(c);
    widths.insert(options.num_beams);
    const auto ends = c.value("ends", std::vector<int32_t>{kEos});
    with_several_ends += ends.size() > 1;
    search.Start(&options, kStart, ends);
    while (!search.finished()) StepOn(tables[c.at("table")], options, ends, &search);

    const nlohmann::json& ids = c.at("ids");
    ASSERT_EQ(search.num_hypotheses(), ids.size()) << c.dump();
    for (uint32_t i = 0; i < ids.size(); ++i) {
      const BeamSearch::Hypothesis got = search.hypothesis(i);
      EXPECT_EQ(std::vector(got.ids.begin(), got.ids.end()), ids[i].get<std::vector<int32_t>>())
          << "rank " << i << " of " << c.dump();
      // The reference divides in double.
      const float want = c.at("scores")[i];
      EXPECT_NEAR(got.score, want, 4e-7 * std::abs(want)) << "rank " << i << " of " << c.dump();
    }
    if (HasFailure()) return;  // one case says it all
  }
  EXPECT_EQ(widths.size(), 16u);
  EXPECT_GT(with_several_ends, 100u);
  EXPECT_GT(cases.at("cases").size(), 300u);
}

// --- Steps, by hand ---

class BeamSearchTest : public testing::Test {
 protected:
  using Rows = std::vector<std::vector<TokenScore>>;

  void Start(uint32_t beams, uint32_t max_new_tokens) {
    options_.num_beams = beams;
    options_.num_return_sequences = beams;
    options_.max_new_tokens = max_new_tokens;
    search_.Start(&options_, kStart, kEnds);
  }
  void Step(const Rows& rows) {
    const std::vector<std::span<const TokenScore>> spans(rows.begin(), rows.end());
    search_.Step(spans);
  }
  std::vector<int32_t> Ids(uint32_t beam) const {
    return {search_.ids(beam).begin(), search_.ids(beam).end()};
  }
  std::vector<int32_t> Hypothesis(uint32_t rank) const {
    const auto ids = search_.hypothesis(rank).ids;
    return {ids.begin(), ids.end()};
  }

  GenerationOptions options_;
  BeamSearch search_;
};

TEST_F(BeamSearchTest, StartsWithOneBeamOfTheStartToken) {
  Start(3, 5);
  EXPECT_EQ(search_.live(), 1u);
  EXPECT_EQ(search_.generated(), 0u);
  EXPECT_EQ(search_.candidates_per_beam(), 6u);
  EXPECT_FALSE(search_.finished());
  EXPECT_THAT(Ids(0), ElementsAre(kStart));
}

TEST_F(BeamSearchTest, SaysWhoseChildEachBeamIs) {
  Start(2, 5);
  Step({{{-1, 5}, {-2, 6}, {-3, 7}}});
  EXPECT_THAT(search_.parents(), ElementsAre(0, 0));
  EXPECT_THAT(Ids(0), ElementsAre(kStart, 5));
  EXPECT_THAT(Ids(1), ElementsAre(kStart, 6));
  Step({{{-5, 8}, {-6, 9}}, {{-1, 8}, {-2, 9}}});
  EXPECT_THAT(search_.parents(), ElementsAre(1, 1));
  EXPECT_THAT(Ids(0), ElementsAre(kStart, 6, 8));
  EXPECT_THAT(Ids(1), ElementsAre(kStart, 6, 9));
  EXPECT_EQ(search_.generated(), 2u);
}

TEST_F(BeamSearchTest, AmongEqualsTheLowerBeamAndTokenGoFirst) {
  Start(2, 5);
  Step({{{-1, 5}, {-1, 6}, {-1, 7}, {-1, 8}}});
  EXPECT_THAT(Ids(0), ElementsAre(kStart, 5));
  EXPECT_THAT(Ids(1), ElementsAre(kStart, 6));
  Step({{{-1, 9}, {-2, 4}}, {{-1, 3}, {-1, 4}}});
  EXPECT_THAT(Ids(0), ElementsAre(kStart, 5, 9));
  EXPECT_THAT(Ids(1), ElementsAre(kStart, 6, 3));
}

TEST_F(BeamSearchTest, SumsThatRoundToTheSameAreEqual) {
  Start(1, 5);
  Step({{{-1e8f, 5}}});
  Step({{{-1, 9}, {-2, 4}}});  // the row's better one, but both sums are -1e8
  EXPECT_THAT(Ids(0), ElementsAre(kStart, 5, 4));
}

TEST_F(BeamSearchTest, AnEndOutsideTheBestWidthIsNoHypothesis) {
  Start(2, 5);
  Step({{{-1, 5}, {-2, 6}, {-3, kEos}, {-4, 7}}});
  EXPECT_EQ(search_.num_hypotheses(), 0u);
  EXPECT_EQ(search_.live(), 2u);
}

TEST_F(BeamSearchTest, EndsDoNotTakeABeamAway) {
  Start(2, 5);
  Step({{{-1, kEos}, {-2, 5}, {-3, 6}, {-4, 7}}});
  EXPECT_EQ(search_.num_hypotheses(), 1u);
  EXPECT_THAT(Hypothesis(0), ElementsAre(kStart, kEos));
  EXPECT_THAT(Ids(0), ElementsAre(kStart, 5));
  EXPECT_THAT(Ids(1), ElementsAre(kStart, 6));
}

TEST_F(BeamSearchTest, KeepsTheBestAndForgetsTheWorst) {
  options_.early_stopping = EarlyStopping::kNever;
  options_.length_penalty = 0;
  Start(2, 5);
  Step({{{-1, 5}, {-4, kEos}, {-5, 6}, {-6, 7}}});
  Step({{{-0.5, 8}, {-1, kEos}}, {{-9, 8}, {-9, 9}}});
  EXPECT_EQ(search_.num_hypotheses(), 2u);
  EXPECT_FALSE(search_.finished()) << "-1.5 may still beat -4";
  Step({{{-1, kEos}, {-3, 8}}, {{-9, 8}, {-9, 9}}});
  ASSERT_EQ(search_.num_hypotheses(), 2u);
  EXPECT_THAT(Hypothesis(0), ElementsAre(kStart, 5, kEos));
  EXPECT_THAT(Hypothesis(1), ElementsAre(kStart, 5, 8, kEos));
  EXPECT_FLOAT_EQ(search_.hypothesis(1).score, -2.5f);
  EXPECT_TRUE(search_.finished()) << "-4.5 cannot beat -2.5";
  EXPECT_EQ(search_.live(), 0u);
}

TEST_F(BeamSearchTest, AmongEqualHypothesesTheEarlierIsBetter) {
  options_.length_penalty = 0;
  Start(2, 5);
  Step({{{-1, 5}, {-2, kEos}, {-5, 6}, {-6, 7}}});
  Step({{{-1, kEos}, {-2, 8}}, {{-9, 8}, {-9, 9}}});
  ASSERT_EQ(search_.num_hypotheses(), 2u);
  EXPECT_THAT(Hypothesis(0), ElementsAre(kStart, kEos));
  EXPECT_THAT(Hypothesis(1), ElementsAre(kStart, 5, kEos));
}

TEST_F(BeamSearchTest, NeverLooksAheadToTheLargestLength) {
  const Rows rows = {{{-1, kEos}, {-2, 5}}};
  Start(1, 10);
  Step(rows);
  EXPECT_TRUE(search_.finished()) << "-2 is no better than -1";
  options_.early_stopping = EarlyStopping::kNever;
  Start(1, 10);
  Step(rows);
  EXPECT_FALSE(search_.finished()) << "-2 / 10 would be";
}

TEST_F(BeamSearchTest, NeverDoesNotLookAheadWhereLengthCosts) {
  options_.early_stopping = EarlyStopping::kNever;
  options_.length_penalty = -1;
  Start(2, 10);
  Step({{{-1, 5}, {-4, kEos}, {-5, 6}, {-6, 7}}});
  Step({{{-0.5, 8}, {-1, kEos}}, {{-9, 8}, {-9, 9}}});
  EXPECT_EQ(search_.num_hypotheses(), 2u);
  EXPECT_FALSE(search_.finished()) << "-1.5 x 2 beats -4, -1.5 x 10 would not";
}

TEST_F(BeamSearchTest, EveryBeamEndsAtTheLastToken) {
  Start(2, 1);
  Step({{{-1, 5}, {-2, kEos}, {-3, 6}}});
  EXPECT_TRUE(search_.finished());
  EXPECT_THAT(Hypothesis(0), ElementsAre(kStart, 5));
  EXPECT_THAT(Hypothesis(1), ElementsAre(kStart, kEos));
}

// Forced tokens leave one candidate a row.
TEST_F(BeamSearchTest, GoesOnWithFewerBeamsWhereFewerArePossible) {
  Start(3, 3);
  Step({{{0, 7}}});
  EXPECT_EQ(search_.live(), 1u);
  EXPECT_THAT(search_.parents(), ElementsAre(0));
  Step({{{-1, 5}, {-2, 6}}});
  EXPECT_EQ(search_.live(), 2u);
  Step({{{0, kEos}}, {{0, kEos}}});
  EXPECT_TRUE(search_.finished());
  EXPECT_EQ(search_.num_hypotheses(), 2u) << "of three that were asked for";
}

TEST_F(BeamSearchTest, FinishesWhenNothingIsPossible) {
  Start(2, 5);
  Step({{}});
  EXPECT_TRUE(search_.finished());
  EXPECT_EQ(search_.num_hypotheses(), 0u);
}

using BeamSearchDeathTest = BeamSearchTest;

TEST_F(BeamSearchDeathTest, RefusesRowsOfOtherBeams) {
  Start(2, 5);
  EXPECT_DEATH(Step({}), "check failed");
  EXPECT_DEATH(Step({{{-1, 5}}, {{-1, 5}}}), "check failed");
  Step({{}});
  EXPECT_DEATH(Step({}), "check failed") << "it has finished";
}

}  // namespace
}  // namespace precis
