#include "engine/text/sentence_ends.h"

#include <algorithm>
#include <array>
#include <string>

namespace precis {
namespace {

// A longer word has no mark at its end that we would know by its beginning.
constexpr size_t kMaxWordBytes = 64;

// Marks that end a sentence where white space follows, and those that need none.
constexpr std::array<std::string_view, 4> kMarks = {".", "!", "?", "\xE2\x80\xA6"};  // ellipsis
constexpr std::array<std::string_view, 4> kWideMarks = {
    "\xE3\x80\x82", "\xEF\xBC\x81", "\xEF\xBC\x9F", "\xEF\xBD\xA1"};  // as in Chinese, Japanese
// What may stand between the mark and the white space: closing quotes and brackets.
constexpr std::array<std::string_view, 10> kClosers = {"\"",
                                                       "'",
                                                       ")",
                                                       "]",
                                                       "}",
                                                       "\xC2\xBB",  // guillemet
                                                       "\xE2\x80\x99",
                                                       "\xE2\x80\x9D",
                                                       "\xE3\x80\x8D",  // quotes, corner bracket
                                                       "\xEF\xBC\x89"};
// Words that end in a full stop and seldom end a sentence. Single letters are told by their length.
constexpr std::array<std::string_view, 26> kAbbreviations = {
    "al", "approx", "cf",  "ca", "dr", "e.g", "eq", "etc",  "fig", "figs", "gen", "i.e", "inc",
    "jr", "mr",     "mrs", "ms", "no", "nos", "pp", "prof", "sec", "sr",   "st",  "u.s", "vs"};

constexpr std::string_view kOpeners = "\"'([{";

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <size_t N>
bool RemoveSuffix(const std::array<std::string_view, N>& suffixes, std::string_view* text) {
  for (const std::string_view suffix : suffixes) {
    if (!text->ends_with(suffix)) continue;
    text->remove_suffix(suffix.size());
    return true;
  }
  return false;
}

// `word` without its full stop.
bool IsAbbreviation(std::string_view word, std::string_view next) {
  while (!word.empty() && kOpeners.find(word.front()) != kOpeners.npos) word.remove_prefix(1);
  if (word.size() == 1 && !IsDigit(word[0])) return true;  // an initial, or "p."
  std::string lower(word);
  std::transform(lower.begin(), lower.end(), lower.begin(), ToLower);
  if (lower == "no") return !next.empty() && IsDigit(next[0]);  // "No." is an answer, too
  return std::find(kAbbreviations.begin(), kAbbreviations.end(), lower) != kAbbreviations.end();
}

// The text so far, as far as the next boundary depends on it.
class Reader {
 public:
  // What lies before `text`; `fresh`: the character before it is complete.
  Boundary Before(std::string_view text, bool fresh) const {
    // A piece of white space alone belongs to what follows: the place to cut is before it.
    if (!fresh) return Boundary::kInside;
    if (word_.empty() || after_blank_) return Boundary::kPiece;
    std::string_view next = text;
    while (!next.empty() && IsSpace(next.front())) next.remove_prefix(1);
    if (after_space_ || next.size() < text.size()) {
      return EndsSentence(word_, next) ? Boundary::kSentence : Boundary::kWord;
    }
    std::string_view word = word_;
    while (RemoveSuffix(kClosers, &word)) {
    }
    std::string_view rest = text;
    const bool closes = std::any_of(kClosers.begin(), kClosers.end(),
                                    [&](std::string_view c) { return rest.starts_with(c); });
    return RemoveSuffix(kWideMarks, &word) && !closes ? Boundary::kSentence : Boundary::kPiece;
  }

  // Whether what comes after white space alone shows that no sentence ended before that.
  bool GoesOn(std::string_view text) const { return after_blank_ && !EndsSentence(word_, text); }

  void Add(std::string_view text) {
    after_blank_ = !text.empty() && std::all_of(text.begin(), text.end(), IsSpace);
    for (const char c : text) {
      if (IsSpace(c)) {
        after_space_ = true;
        continue;
      }
      if (after_space_) word_.clear();
      after_space_ = false;
      if (word_.size() == kMaxWordBytes) word_.erase(0, kMaxWordBytes / 2);
      word_.push_back(c);
    }
  }

 private:
  std::string word_;  // the last one, or its end
  bool after_space_ = false;
  bool after_blank_ = false;
};

}  // namespace

bool EndsSentence(std::string_view word, std::string_view next) {
  if (!next.empty() && IsLower(next.front())) return false;
  while (RemoveSuffix(kClosers, &word)) {
  }
  if (RemoveSuffix(kWideMarks, &word)) return true;
  const bool full_stop = word.ends_with('.');
  if (!RemoveSuffix(kMarks, &word)) return false;
  return !full_stop || !IsAbbreviation(word, next);
}

std::vector<Boundary> FindBoundaries(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  std::vector<Boundary> out;
  out.reserve(ids.size());
  Reader reader;
  // As if in the middle of a text, where a piece keeps its leading space.
  DecodeState state;
  state.any_text = true;
  state.at_start = false;
  std::string text;
  for (const int32_t id : ids) {
    const bool fresh = state.pending_bytes.empty();
    text.clear();
    tokenizer.DecodeNext(id, &state, &text);
    if (!out.empty() && reader.GoesOn(text)) out.back() = std::min(out.back(), Boundary::kWord);
    out.push_back(reader.Before(text, fresh));
    reader.Add(text);
  }
  return out;
}

}  // namespace precis
