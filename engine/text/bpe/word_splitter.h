// Cuts text into words as GPT-2 does, by its regular expression: a contraction, or a run of
// letters, of digits or of other characters with at most one space before it, or white space. RE2
// does it, because it is linear in any text; it has no look-ahead, and the one that the expression
// has is done by hand. Owner: BpeCodec. Thread rule: const after construction; any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

namespace re2 {
class RE2;
}

namespace precis {

class WordSplitter {
 public:
  WordSplitter();
  ~WordSplitter();
  WordSplitter(WordSplitter&&) noexcept;
  WordSplitter& operator=(WordSplitter&&) noexcept;

  // Bytes of the first word of `text`, which is well-formed UTF-8 and not empty.
  size_t FirstWord(std::string_view text) const;

 private:
  std::unique_ptr<const re2::RE2> pattern_;
};

}  // namespace precis
