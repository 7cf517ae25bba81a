#include "engine/text/unigram/normalizer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/text/unicode/utf8.h"

namespace precis {

StatusOr<Normalizer> Normalizer::Create(const UnigramSpec& spec) {
  Normalizer out;
  PRECIS_ASSIGN_OR_RETURN(out.charsmap_, Charsmap::Parse(spec.normalizer.charsmap));
  std::vector<std::pair<std::string_view, uint32_t>> user_defined;
  for (const Piece& piece : spec.pieces) {
    if (piece.type == PieceType::kUserDefined) user_defined.emplace_back(piece.text, 0u);
  }
  out.user_defined_ = PieceTrie(std::move(user_defined));
  out.prefix_ = spec.normalizer.add_dummy_prefix && !spec.normalizer.whitespace_as_suffix;
  out.suffix_ = spec.normalizer.add_dummy_prefix && spec.normalizer.whitespace_as_suffix;
  out.collapse_ = spec.normalizer.remove_extra_whitespaces;
  out.escape_ = spec.normalizer.escape_whitespaces;
  out.any_whitespace_ = spec.normalizer.any_whitespace;
  return out;
}

Normalizer::Step Normalizer::Next(std::string_view text, bool mapped) const {
  if (const size_t length = user_defined_.LongestPrefix(text).length; length > 0) {
    return {text.substr(0, length), length};
  }
  Step step = mapped ? Character(text) : Mapped(text);
  if (any_whitespace_ && IsUnicodeWhitespace(step.output)) step.output = " ";
  return step;
}

Normalizer::Step Normalizer::Mapped(std::string_view text) const {
  if (const Charsmap::Match rule = charsmap_.Longest(text); rule.length > 0) {
    return {rule.replacement, rule.length};
  }
  return Character(text);
}

Normalizer::Step Normalizer::Character(std::string_view text) {
  const size_t length = Utf8CharLength(text);
  // A broken rule table can leave us inside a character; SentencePiece answers so, too.
  if (length == 0) return {kReplacementCharacter, 1};
  return {text.substr(0, length), length};
}

void Normalizer::AppendEscaped(std::string_view text, std::string* out) const {
  if (!escape_) {
    out->append(text);
    return;
  }
  for (const char c : text) {
    if (c == ' ') {
      out->append(kSpaceSymbol);
    } else {
      out->push_back(c);
    }
  }
}

std::string Normalizer::Normalize(std::string_view text) const {
  return Spell(text, /*mapped=*/false);
}

std::string Normalizer::NormalizeSpaces(std::string_view mapped) const {
  return Spell(mapped, /*mapped=*/true);
}

std::string Normalizer::MapCharacters(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t consumed = user_defined_.LongestPrefix(text).length;
    if (consumed > 0) {
      out.append(text.substr(0, consumed));
    } else {
      const Step step = Mapped(text);
      out.append(step.output);
      // To tokenizers the two are one character: one space, which counts where a space is a token.
      const bool line_end = text.starts_with("\r\n") && step.output == " ";
      consumed = line_end ? 2 : step.consumed;
    }
    text.remove_prefix(consumed);
  }
  return out;
}

bool Normalizer::IsBlank(std::string_view text) const {
  while (!text.empty()) {
    const Step step = Next(text, /*mapped=*/false);
    std::string_view output = step.output;
    while (!output.empty()) {
      const std::string_view character =
          output.substr(0, std::max<size_t>(1, Utf8CharLength(output)));
      if (!IsUnicodeWhitespace(character) && character != kSpaceSymbol) return false;
      output.remove_prefix(character.size());
    }
    text.remove_prefix(step.consumed);
  }
  return true;
}

std::string Normalizer::Spell(std::string_view text, bool mapped) const {
  std::string out;
  if (collapse_) {
    while (!text.empty()) {
      const Step step = Next(text, mapped);
      if (step.output != " ") break;
      text.remove_prefix(step.consumed);
    }
  }
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2);
  if (prefix_) out.append(space());
  bool after_space = collapse_;
  while (!text.empty()) {
    Step step = Next(text, mapped);
    text.remove_prefix(step.consumed);
    if (after_space) {
      step.output.remove_prefix(std::min(step.output.find_first_not_of(' '), step.output.size()));
    }
    if (step.output.empty()) continue;
    AppendEscaped(step.output, &out);
    after_space = collapse_ && step.output.ends_with(' ');
  }
  if (collapse_) {
    while (out.ends_with(space())) out.resize(out.size() - space().size());
  }
  if (suffix_) out.append(space());
  return out;
}

}  // namespace precis
