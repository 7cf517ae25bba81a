#include "engine/decoding/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/check.h"
#include "engine/decoding/token_history.h"

namespace precis {
void BeamSearch::Start(const GenerationOptions* options, int32_t start_token,
                       std::span<const int32_t> end_tokens) {
  PRECIS_CHECK(options->num_beams > 0 && options->max_new_tokens > 0);
  options_ = options;
  end_tokens_ = end_tokens;
  capacity_ = options->max_new_tokens + 1;
  length_ = 1;
  live_ = 1;
  buffer_ = 0;
  finished_ = false;
  const size_t width = options->num_beams;
  ids_.resize(2 * width * capacity_);
  scores_.resize(2 * width);
  parents_.resize(width);
  choices_.clear();
  choices_.reserve(width * candidates_per_beam());
  kept_.clear();
  kept_.reserve(width);
  kept_ids_.resize(width * capacity_);
  parents_[0] = 0;
  scores_[0] = 0;
  Row(buffer_, 0)[0] = start_token;
}

std::span<const int32_t> BeamSearch::ids(uint32_t beam) const {
  PRECIS_CHECK(beam < live_);
  return {ids_.data() + (size_t{buffer_} * options_->num_beams + beam) * capacity_, length_};
}

void BeamSearch::Step(std::span<const std::span<const TokenScore>> rows) {
  PRECIS_CHECK(!finished_ && rows.size() == live_);
  Choose(rows);
  const bool last = length_ + 1 == capacity_;
  uint32_t next = 0;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const bool ended = last || IsEnd(end_tokens_, choices_[i].token);
    if (ended) {
      // A hypothesis ends only from among the best `width`; the second half refills the beams.
      if (i < options_->num_beams) Keep(choices_[i]);
    } else if (next < options_->num_beams) {
      Continue(choices_[i], next++);
    }
  }
  buffer_ = 1 - buffer_;
  ++length_;
  live_ = next;
  if (live_ > 0 && CanImprove()) return;
  live_ = 0;
  finished_ = true;
}

// The best continuations of all beams, as many that all beams go on even if each of them has all
// its ends among the best; those of lower beams and tokens first among equals.
void BeamSearch::Choose(std::span<const std::span<const TokenScore>> rows) {
  choices_.clear();
  const float* scores = scores_.data() + size_t{buffer_} * options_->num_beams;
  for (uint32_t beam = 0; beam < rows.size(); ++beam) {
    PRECIS_CHECK(rows[beam].size() <= candidates_per_beam());
    for (const TokenScore& c : rows[beam]) {
      // In float, as generate() adds: the sums decide who is equal to whom.
      choices_.push_back({Saturated(c.score + scores[beam]), beam, c.token});
    }
  }
  const size_t most = size_t{options_->num_beams} * std::max<size_t>(2, 1 + end_tokens_.size());
  const size_t count = std::min(choices_.size(), most);
  const auto better = [](const Choice& a, const Choice& b) {
    if (a.total != b.total) return a.total > b.total;
    return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
  };
  std::partial_sort(choices_.begin(), choices_.begin() + static_cast<ptrdiff_t>(count),
                    choices_.end(), better);
  choices_.resize(count);
}

// Enters a hypothesis that ends here, if it is among the best num_beams.
void BeamSearch::Keep(const Choice& choice) {
  const float score = Saturated(choice.total / LengthPenalty(length_));
  const auto place = std::find_if(kept_.begin(), kept_.end(),
                                  [score](const Kept& kept) { return kept.score < score; });
  auto slot = static_cast<uint32_t>(kept_.size());
  if (kept_.size() < options_->num_beams) {
    kept_.insert(place, {score, length_ + 1, slot});
  } else if (place != kept_.end()) {
    slot = kept_.back().slot;  // the worst leaves
    std::move_backward(place, kept_.end() - 1, kept_.end());
    *place = {score, length_ + 1, slot};
  } else {
    return;
  }
  const std::span<const int32_t> parent = ids(choice.beam);
  const auto at = kept_ids_.begin() + static_cast<ptrdiff_t>(size_t{slot} * capacity_);
  *std::copy(parent.begin(), parent.end(), at) = choice.token;
}

void BeamSearch::Continue(const Choice& choice, uint32_t beam) {
  const std::span<const int32_t> parent = ids(choice.beam);
  const std::span<int32_t> row = Row(1 - buffer_, beam);
  *std::copy(parent.begin(), parent.end(), row.begin()) = choice.token;
  scores_[size_t{1 - buffer_} * options_->num_beams + beam] = choice.total;
  parents_[beam] = choice.beam;
}

// Whether a live beam may still end better than the worst hypothesis kept. A guess, as
// generate()'s is: by the length of now, or the largest one where that favours the beam and the
// caller said never.
bool BeamSearch::CanImprove() const {
  if (kept_.size() < options_->num_beams) return true;
  if (options_->early_stopping == EarlyStopping::kTrue) return false;
  const bool longest =
      options_->early_stopping == EarlyStopping::kNever && options_->length_penalty > 0;
  const float best = scores_[size_t{buffer_} * options_->num_beams];
  return best / LengthPenalty(longest ? options_->max_new_tokens : generated()) >
         kept_.back().score;
}

// The power in double, the quotient in float: generate() divides a float tensor by a Python number.
// Never zero, by which no score can be divided.
float BeamSearch::LengthPenalty(uint32_t new_tokens) const {
  const double power =
      std::pow(static_cast<double>(new_tokens), static_cast<double>(options_->length_penalty));
  return std::max(static_cast<float>(power), std::numeric_limits<float>::min());
}

uint32_t BeamSearch::num_hypotheses() const {
  return std::min(static_cast<uint32_t>(kept_.size()), options_->num_return_sequences);
}

BeamSearch::Hypothesis BeamSearch::hypothesis(uint32_t rank) const {
  PRECIS_CHECK(rank < num_hypotheses());
  const Kept& kept = kept_[rank];
  return {{kept_ids_.data() + size_t{kept.slot} * capacity_, kept.length}, kept.score};
}

}  // namespace precis
