#include "engine/decoding/token_picker.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/check.h"
#include "engine/decoding/beam_search.h"
#include "engine/sched/scheduler.h"

namespace precis {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();
constexpr size_t kMostBest = BeamSearch::CandidatesPerBeam(Scheduler::kMaxBeams, kMaxEndTokens);

// `next` comes to its place among the best, if it has one.
void Insert(const TokenScore& next, ScoreReduction* reduction) {
  const auto better = [](const TokenScore& a, const TokenScore& b) {
    return a.score != b.score ? a.score > b.score : a.token < b.token;
  };
  const std::span<TokenScore> best = reduction->best;
  if (reduction->num_best < best.size()) {
    ++reduction->num_best;
  } else if (!better(next, best.back())) {
    return;
  }
  size_t at = reduction->num_best - 1;
  for (; at > 0 && better(next, best[at - 1]); --at) best[at] = best[at - 1];
  best[at] = next;
}

void AddToSum(float score, ScoreReduction* reduction) {
  if (score == kImpossible) return;
  if (!(score <= reduction->max)) {
    reduction->sum *= std::exp(static_cast<double>(reduction->max) - score);
    reduction->max = score;
  }
  reduction->sum += std::exp(static_cast<double>(score) - reduction->max);
}

}  // namespace

TokenPicker::TokenPicker(uint32_t vocab_size, uint32_t max_rows, std::vector<int32_t> end_tokens,
                         Backend& backend)
    : vocab_size_(vocab_size),
      end_tokens_(std::move(end_tokens)),
      backend_(backend),
      best_(max_rows * kMostBest),
      scores_(size_t{max_rows} * vocab_size) {
  PRECIS_CHECK(end_tokens_.size() <= kMaxEndTokens);
  rows_.reserve(max_rows);
  reductions_.reserve(max_rows);
  sampled_.reserve(max_rows);
}

void TokenPicker::Reserve(const GenerationOptions& options) {
  max_edits_ = std::max(max_edits_, MaxScoreEdits(options, end_tokens_.size()));
  edits_.reserve(max_edits_ * rows_.capacity());
  edited_.reserve(max_edits_ * rows_.capacity());
  places_.reserve(max_edits_ * rows_.capacity());
}

void TokenPicker::Clear() {
  rows_.clear();
  reductions_.clear();
  edits_.clear();
  sampled_.clear();
}

void TokenPicker::AddRow(const GenerationOptions& options, std::span<const int32_t> ids) {
  PRECIS_CHECK(rows_.size() < rows_.capacity());
  const size_t first = edits_.size();
  const std::span<const int32_t> forced = ForcedTokens(options, ids.size());
  if (forced.empty()) AppendScoreEdits(options, ids, end_tokens_, &edits_);
  const bool beams = options.num_beams > 1;
  const size_t wanted =
      beams ? BeamSearch::CandidatesPerBeam(options.num_beams, end_tokens_.size()) : 1;
  const std::span<TokenScore> best = std::span(best_).subspan(rows_.size() * kMostBest, wanted);
  if (options.Samples()) sampled_.push_back(static_cast<uint32_t>(rows_.size()));
  rows_.push_back({&options, forced, first, edits_.size(), first});
  reductions_.push_back({.best = best, .wants_sum = beams});
}

void TokenPicker::Take(int32_t first_token, size_t count, float* scores) {
  edited_.resize(edits_.size());
  places_.clear();
  const int64_t end_token = first_token + static_cast<int64_t>(count);
  for (uint32_t i = 0; i < rows_.size(); ++i) AddPlaces(i, end_token);
  if (!sampled_.empty()) {
    backend_.KeepScores({scores, count, first_token, sampled_, vocab_size_, scores_.data()});
  }
  if (!places_.empty()) {
    backend_.ExtractScores({scores, count, first_token, places_, edited_.data()});
  }
  backend_.ReduceScores({scores, count, first_token, reductions_});
}

// What a row's processing may change of the tokens before `end_token`.
void TokenPicker::AddPlaces(uint32_t index, int64_t end_token) {
  Row& row = rows_[index];
  for (; row.next_edit < row.end_edit && edits_[row.next_edit].token < end_token; ++row.next_edit) {
    places_.push_back({index, edits_[row.next_edit].token, static_cast<uint32_t>(row.next_edit)});
  }
}

// Before the scores that were taken out join again: processing must not hide what is wrong.
bool TokenPicker::Overflowed(const Row& row, const ScoreReduction& reduction) const {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (std::isnan(reduction.max)) return true;
  if (reduction.num_best > 0 && reduction.best[0].score == kInfinity) return true;
  for (size_t i = row.first_edit; i < row.end_edit; ++i) {
    if (!(edited_[i] < kInfinity)) return true;  // NaN too
  }
  return false;
}

void TokenPicker::Finish() {
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (Overflowed(rows_[i], reductions_[i])) {
      reductions_[i].max = std::numeric_limits<float>::quiet_NaN();
      reductions_[i].num_best = 0;
    } else if (rows_[i].options->Samples()) {
      FinishSampled(rows_[i], i);
    } else {
      FinishBest(rows_[i], &reductions_[i]);
    }
  }
}

void TokenPicker::FinishBest(const Row& row, ScoreReduction* reduction) {
  const std::span<const int32_t> suppressed = row.options->suppressed_token_ids;
  if (!row.forced.empty()) {
    reduction->num_best = 0;
    for (const int32_t id : row.forced) {
      if (std::ranges::find(suppressed, id) == suppressed.end()) Insert({0, id}, reduction);
    }
    return;
  }
  float shift = 0;
  if (reduction->wants_sum) {
    for (size_t i = row.first_edit; i < row.end_edit; ++i) AddToSum(edited_[i], reduction);
    shift = reduction->max + static_cast<float>(std::log(reduction->sum));
    for (size_t i = 0; i < reduction->num_best; ++i) {
      reduction->best[i].score = Saturated(reduction->best[i].score - shift);
    }
  }
  for (size_t i = row.first_edit; i < row.end_edit; ++i) {
    // What is impossible stays so, by its own score or by the edit.
    const float before = edited_[i] > kImpossible ? Saturated(edited_[i] - shift) : kImpossible;
    const float score = Edited(edits_[i], *row.options, before);
    if (score > kImpossible) Insert({score, edits_[i].token}, reduction);
  }
}

void TokenPicker::FinishSampled(const Row& row, size_t index) {
  const std::span<float> all = scores(index);
  if (!row.forced.empty()) {
    ForceScores(row.forced, *row.options, all);
  } else {
    for (size_t i = row.first_edit; i < row.end_edit; ++i) {
      float& score = all[static_cast<size_t>(edits_[i].token)];
      score = Edited(edits_[i], *row.options, score);
    }
  }
  const auto top = std::ranges::max_element(all);
  reductions_[index].best[0] = {*top, static_cast<int32_t>(top - all.begin())};
  reductions_[index].num_best = *top > kImpossible ? 1 : 0;
}

}  // namespace precis
