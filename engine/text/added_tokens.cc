#include "engine/text/added_tokens.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Bytes of white space at the begin of `text`, and at its end.
size_t LeadingWhitespace(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = Utf8CharLength(text.substr(at));
    if (!IsUnicodeWhitespace(text.substr(at, length))) break;
    at += length;
  }
  return at;
}

size_t TrailingWhitespace(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t at = LastCharacter(text.substr(0, end));
    if (!IsUnicodeWhitespace(text.substr(at, end - at))) break;
    end = at;
  }
  return text.size() - end;
}

}  // namespace

StatusOr<AddedTokens> AddedTokens::Create(std::span<const AddedToken> tokens,
                                          const Normalizer* normalizer) {
  AddedTokens out;
  for (const AddedToken& token : tokens) {
    Set& set = token.normalized ? out.mapped_ : out.as_it_is_;
    set.cuts = set.cuts || !token.special;
    if (token.single_word && !out.word_) out.word_.emplace();
    AddedToken& kept = set.tokens.emplace_back(token);
    if (!token.normalized) continue;
    if (normalizer != nullptr) kept.content = normalizer->MapCharacters(token.content);
    if (kept.content.empty()) {
      return InvalidArgument(
          fmt::format("{}: nothing is left of added token '{}' (id {}) when it is "
                      "normalized, as it says it is",
                      token.file, token.content, token.id));
    }
  }
  for (Set* set : {&out.as_it_is_, &out.mapped_}) {
    std::vector<std::pair<std::string_view, uint32_t>> entries;
    std::unordered_set<std::string_view> seen;
    for (uint32_t i = 0; i < set->tokens.size(); ++i) {
      const std::string& content = set->tokens[i].content;
      if (seen.insert(content).second) entries.emplace_back(content, i);
    }
    set->trie = PieceTrie(std::move(entries));
  }
  return out;
}

bool AddedTokens::IsBesideWord(std::string_view before, std::string_view after) const {
  return word_->Ends(before) || word_->Begins(after);
}

// The leftmost token, of several there the longest; the next is looked for after it, whether it
// was taken or not, and whatever white space it took.
std::vector<AddedTokens::Part> AddedTokens::Cut(const Set& set, std::string_view text) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const PieceTrie::Match match = set.trie.LongestPrefix(text.substr(at));
    if (match.length == 0) {
      ++at;
      continue;
    }
    const std::string_view before = text.substr(0, at);
    at += match.length;
    const std::string_view after = text.substr(at);
    const AddedToken& token = set.tokens[match.value];
    if (token.special || (token.single_word && IsBesideWord(before, after))) continue;
    size_t begin = before.size();
    const size_t end = at + (token.rstrip ? LeadingWhitespace(after) : 0);
    if (token.lstrip) begin = std::max(begin - TrailingWhitespace(before), done);
    // White space that the token before it took already.
    if (token.lstrip && begin >= end) continue;
    if (done < begin) parts.push_back({std::nullopt, text.substr(done, begin - done)});
    parts.push_back({static_cast<int32_t>(token.id), {}});
    done = end;
  }
  if (done < text.size()) parts.push_back({std::nullopt, text.substr(done)});
  return parts;
}

}  // namespace precis
