// The tokenizer of a byte-level BPE: added tokens are cut out of a text, BpeCodec reads the rest.
// Called by Tokenizer::Load. Thread rule: const after loading; any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "common/status.h"
#include "engine/text/files/tokenizer_files.h"
#include "engine/text/tokenizer.h"

namespace precis {

// Errors begin with the name of the file that is wrong.
StatusOr<std::unique_ptr<Tokenizer>> LoadBpeTokenizer(const TokenizerFiles& files,
                                                      uint32_t vocab_size);

}  // namespace precis
