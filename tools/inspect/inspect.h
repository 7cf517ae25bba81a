// What a checkpoint directory holds and what serving it would cost, without packing its weights.
// Called by `precis inspect`; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/api/generation.h"
#include "engine/api/model_info.h"

namespace precis {

struct Inspection {
  ModelInfo info;            // weight_bytes: in the types asked for, scales aside
  uint64_t parameters = 0;   // values in the file's tensors
  std::string tokenizer;     // "spiece.model, 8000 pieces"; the file or files, or "bytes"
  Status without_tokenizer;  // why there is none: then all else holds, but nothing can be served
  std::vector<std::string> notes;  // on token ids, as the server logs them
  // What a request gets that says nothing, on a server with default limits.
  ResolvedOptions effective;

  // Bytes of pages for `documents` of `source_tokens` each, with room for `new_tokens`.
  uint64_t PageBytesFor(uint64_t documents, uint64_t source_tokens, uint64_t new_tokens) const;
};

// Everything is read and checked as by loading: an error here is one there, and the other way
// round. dtype, kv_dtype: "f32", "bf16", "int8", or "auto", which is bf16 (kv_dtype: as dtype).
StatusOr<Inspection> Inspect(const std::string& model_dir, const std::string& dtype,
                             const std::string& kv_dtype);

}  // namespace precis
