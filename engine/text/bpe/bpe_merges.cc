#include "engine/text/bpe/bpe_merges.h"

#include <optional>
#include <utility>

#include "engine/text/files/tokenizer_files.h"
#include "engine/text/files/tokenizer_json_pipeline.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Older files begin with such a line; it is no merge.
constexpr std::string_view kVersion = "#version";

using Pair = std::pair<std::string_view, std::string_view>;

// What one space parts.
std::optional<Pair> SplitPair(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == line.npos || line.find(' ', space + 1) != line.npos) return std::nullopt;
  return Pair(line.substr(0, space), line.substr(space + 1));
}

class MergeReader {
 public:
  MergeReader(const BpeVocabulary& vocabulary, const std::set<std::string>& special)
      : vocabulary_(vocabulary), special_(special), table_(vocabulary.piece_of_byte()) {}

  // An error says what is wrong with it, not where it is.
  Status Add(const Pair& pair) {
    const std::string both = fmt::format("{}{}", pair.first, pair.second);
    std::array<uint32_t, 3> ids = {};
    const std::array<std::string_view, 3> pieces = {pair.first, pair.second, both};
    for (size_t i = 0; i < pieces.size(); ++i) {
      const std::optional<uint32_t> id = vocabulary_.Find(pieces[i]);
      if (!id) {
        return InvalidArgument(fmt::format("{} {} {}, which the vocabulary lacks", Quoted(pair),
                                           i < 2 ? "names" : "makes", JsonQuote(pieces[i])));
      }
      ids[i] = *id;
    }
    if (special_.contains(both)) {
      return InvalidArgument(fmt::format("{} makes {}, a special token, which text must not become",
                                         Quoted(pair), JsonQuote(both)));
    }
    table_.Add(ids[0], ids[1], ids[2]);
    return OkStatus();
  }

  MergeTable Take() { return std::move(table_); }

 private:
  static std::string Quoted(const Pair& pair) {
    return fmt::format("the merge of {} and {}", JsonQuote(pair.first), JsonQuote(pair.second));
  }

  const BpeVocabulary& vocabulary_;
  const std::set<std::string>& special_;
  MergeTable table_;
};

// Nothing where it is neither form.
std::optional<Pair> PairOf(const nlohmann::json& merge) {
  if (merge.is_string()) return SplitPair(merge.get_ref<const std::string&>());
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
    return std::nullopt;
  }
  return Pair(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
}

}  // namespace

StatusOr<MergeTable> ParseMergesText(std::string_view text, const BpeVocabulary& vocabulary,
                                     const std::set<std::string>& special) {
  if (const auto offset = FindBrokenUtf8(text)) {
    return InvalidArgument(fmt::format("{}: not UTF-8 at byte {}", kMergesFile, *offset));
  }
  MergeReader reader(vocabulary, special);
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with(kVersion)) continue;
    const std::optional<Pair> pair = SplitPair(line);
    if (!pair) {
      return InvalidArgument(fmt::format("{}: line {}, {}, is not two pieces with a space between",
                                         kMergesFile, number, JsonQuote(line)));
    }
    if (const Status added = reader.Add(*pair); !added.ok()) {
      return Annotate(added, fmt::format("{}: line {}", kMergesFile, number));
    }
  }
  return reader.Take();
}

StatusOr<MergeTable> ParseMergesJson(const nlohmann::json& merges, const BpeVocabulary& vocabulary,
                                     const std::set<std::string>& special) {
  if (!merges.is_array()) {
    return InvalidArgument(fmt::format("{}: model.merges is not a list", kTokenizerJsonFile));
  }
  MergeReader reader(vocabulary, special);
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::optional<Pair> pair = PairOf(merges[i]);
    if (!pair) {
      return InvalidArgument(fmt::format("{}: model.merges[{}], {}, is not two pieces",
                                         kTokenizerJsonFile, i, JsonExcerpt(merges[i])));
    }
    if (const Status added = reader.Add(*pair); !added.ok()) {
      return Annotate(added, fmt::format("{}: model.merges[{}]", kTokenizerJsonFile, i));
    }
  }
  return reader.Take();
}

}  // namespace precis
