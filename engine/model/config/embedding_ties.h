// Which tensor of a checkpoint the encoder, the decoder and the scores of the vocabulary read.
// Files have one matrix for all, under any of four names or several, or matrices that differ.
// Called at load; values, no state.
#pragma once

#include <string>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/families/tensor_names.h"

namespace precis {

// Names of tensors, [vocab, d_model] each; often all the same.
struct EmbeddingNames {
  std::string encoder;
  std::string decoder;
  std::string lm_head;
};

// As tie_weights() of transformers 5.5.4 does it, whatever tie_word_embeddings says: a name that is
// not there shares another's matrix, matrices that are there and differ stay apart. The order in
// which names look for another is the family's (aliases.ties). NOT_FOUND where none of the names is
// there.
StatusOr<EmbeddingNames> ResolveEmbeddings(const Checkpoint& checkpoint,
                                           const EmbeddingAliases& aliases);

}  // namespace precis
