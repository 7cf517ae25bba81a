// Reads the merges of a byte-level BPE: lines of merges.txt, or model.merges of tokenizer.json.
// Called by the reader of its files. Thread rule: functions of their arguments.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "common/status.h"
#include "engine/text/bpe/bpe_vocabulary.h"
#include "engine/text/bpe/merge_table.h"
#include "nlohmann/json.hpp"

namespace precis {

// Errors begin with the file and name the line. Refused: a merge whose two pieces, or the piece
// that they make, the vocabulary lacks; one that makes a piece of `special`, since text would
// become it.
StatusOr<MergeTable> ParseMergesText(std::string_view text, const BpeVocabulary& vocabulary,
                                     const std::set<std::string>& special);
// The same of a list of "a b" or ["a", "b"]; errors name the place in the list.
StatusOr<MergeTable> ParseMergesJson(const nlohmann::json& merges, const BpeVocabulary& vocabulary,
                                     const std::set<std::string>& special);

}  // namespace precis
