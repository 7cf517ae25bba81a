// What a byte-level BPE tokenizer is made of, and how its files say it: tokenizer.json, else
// vocab.json with merges.txt; read as transformers 5.5.4 reads them for BART. docs/tokenizer.md,
// "Byte-level BPE". Called by the tokenizer's Load. Thread rule: functions of their arguments.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/text/bpe/bpe_vocabulary.h"
#include "engine/text/bpe/merge_table.h"
#include "engine/text/files/tokenizer_files.h"
#include "engine/text/unigram/unigram_spec.h"

namespace precis {

struct BpeSpec {
  BpeVocabulary vocabulary;
  MergeTable merges;
  std::vector<AddedToken> added;       // special ones first, then by id
  std::vector<uint32_t> special;       // ids that text never becomes and that decode to nothing
  bool add_prefix_space = false;       // before each text that does not begin with one
  std::vector<int32_t> source_prefix;  // ids before every source
  int32_t end_id = 0;                  // and the one behind it
  std::string_view source;             // "tokenizer.json" or "vocab.json and merges.txt"
};

// Errors begin with the name of the file that is wrong. Ids that text can become, and those around
// a source, are below `vocab_size`.
StatusOr<BpeSpec> ReadBpeSpec(const TokenizerFiles& files, uint32_t vocab_size);

}  // namespace precis
