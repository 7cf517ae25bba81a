// What encoder and decoder do around their sublayers, wherever the architecture puts the norms: x
// is the residual stream, [rows, d_model], and `y` are its rows as matrices read them.
//
// Called by encoder, decoder and feed-forward; the buffers are the caller's. Thread rule: the step
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/model/families/architecture.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"

namespace precis {

// Tokens and their positions, one a row.
struct TokenRows {
  std::span<const int32_t> ids;
  std::span<const uint32_t> positions;
  const std::byte* table;  // the stack's embedding
};

// x becomes the embedded rows. Where norms are after the sublayers, `y` gets them as well.
void EmbedTokens(const TokenRows& tokens, DType table_dtype, const StackEnds& ends,
                 const Architecture& arch, const Activations& y, Backend& backend, float* x);

// out = the rows times w. Where norms are before the sublayers, `y` is made of x; else it has them.
void EnterSublayer(const StoredNorm& norm, const Architecture& arch, const float* x,
                   const Activations& y, const PackedMatrix& w, Backend& backend, float* out);

// Once x has what the sublayer gave: where norms are after the sublayers, x is normed, and `y` gets
// its rows.
void LeaveSublayer(const StoredNorm& norm, const Architecture& arch, const Activations& y,
                   Backend& backend, float* x);

}  // namespace precis
