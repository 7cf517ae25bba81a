#include "engine/drafting/prompt_lookup.h"

#include <algorithm>
#include <bit>

namespace precis {
namespace {

// Places that one lookup looks at, at most: frequent tokens have long chains.
constexpr uint32_t kMaxPlaces = 64;

}  // namespace

// Sequential ids fall into different buckets, so that a vocabulary as small as a document shares
// none.
uint32_t PromptLookup::Bucket(int32_t token) const {
  return static_cast<uint32_t>(token) & (static_cast<uint32_t>(heads_.size()) - 1);
}

void PromptLookup::Insert(uint32_t position) {
  uint32_t& head = heads_[Bucket(at(position))];
  next_[position] = head;
  head = position;
}

void PromptLookup::Start(std::span<const int32_t> source, uint32_t max_new_tokens,
                         bool own_output) {
  source_ = source;
  own_output_ = own_output;
  next_copied_ = kNone;
  output_.clear();
  output_.reserve(max_new_tokens);
  heads_.assign(std::bit_ceil(source.size() + 1), kNone);
  next_.assign(source.size() + (own_output ? max_new_tokens : 0), kNone);
  // The last position with something to propose after it is that before the token before </s>.
  // Backwards, so that chains begin at the document's beginning.
  for (uint32_t i = source_size(); i > 2; --i) Insert(i - 3);
}

void PromptLookup::Push(int32_t token) {
  // Only now does something follow the token before.
  if (own_output_ && !output_.empty()) Insert(size() - 1);
  if (next_copied_ != kNone) {
    const bool copied = next_copied_ + 1 < source_size() && source_[next_copied_] == token;
    next_copied_ = copied ? next_copied_ + 1 : kNone;
  }
  output_.push_back(token);
}

// How many of the summary's last tokens stand at `position` and before it, kMaxMatch at most.
uint32_t PromptLookup::MatchLength(uint32_t position) const {
  const uint32_t begin = position < source_size() ? 0 : source_size();
  const uint32_t end = size() - 1;
  const uint32_t most = std::min({kMaxMatch, position - begin + 1, end - source_size() + 1});
  uint32_t length = 0;
  while (length < most && at(position - length) == at(end - length)) ++length;
  return length;
}

Draft PromptLookup::Propose(std::span<int32_t> out) {
  if (output_.empty()) return {};
  uint32_t best = kNone;
  uint32_t match = 0;
  // next_copied_ has a token before it that is the last one pushed.
  if (next_copied_ != kNone && next_copied_ + 1 < source_size()) {
    best = next_copied_ - 1;
    match = MatchLength(best);
  }
  uint32_t places = 0;
  for (uint32_t i = heads_[Bucket(output_.back())];
       i != kNone && places < kMaxPlaces && match < kMaxMatch; i = next_[i], ++places) {
    const uint32_t length = MatchLength(i);
    if (length > match) {
      best = i;
      match = length;
    }
  }
  if (best == kNone) return {};
  const uint32_t end = best < source_size() ? source_size() - 1 : size();
  if (best < source_size()) next_copied_ = best + 1;
  const uint32_t tokens = std::min(static_cast<uint32_t>(out.size()), end - best - 1);
  for (uint32_t i = 0; i < tokens; ++i) out[i] = at(best + 1 + i);
  return {tokens, match};
}

}  // namespace precis
