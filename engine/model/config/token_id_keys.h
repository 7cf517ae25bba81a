// The keys of a checkpoint's generation defaults that hold token ids: forced_bos_token_id,
// forced_eos_token_id, suppress_tokens, bad_words_ids. Used by generation_defaults.cc only. Values.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "engine/api/generation.h"
#include "engine/model/checkpoint/json_file.h"

namespace precis {

// The error names file and key: what is no list of ids below `vocab_size`, or longer than a request
// may say it (engine/api/generation.h).
Status ReadTokenConstraints(const JsonKeys& keys, uint32_t vocab_size, GenerationOverrides* values);

}  // namespace precis
