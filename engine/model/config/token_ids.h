// Which id begins a summary and which end it: generation_config.json says it, or config.json where
// there is no such file, as in generate() of transformers 5.5.4. Called at load; values, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/model/families/architecture.h"

namespace precis {

struct TokenIds {
  SpecialTokens tokens;
  std::vector<std::string> notes;  // for the log: what is not said, and what follows from it
};

// The file that generate() takes ids from, generation_config.json if it is there, says all of them:
// an end it does not say there is none. Where it says no start either (decoder_start_token_id, else
// bos_token_id), generate() would refuse; then config.json fills in, then the family's own ids. The
// error names file and key: no id of the vocabulary, more ends than are served.
StatusOr<TokenIds> LoadTokenIds(const std::string& dir, uint32_t vocab_size,
                                const SpecialTokens& family);

}  // namespace precis
