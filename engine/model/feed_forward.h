// The feed-forward of a layer, norm and residual included: the same in encoder and decoder.
//
// Called by both; the buffers are the caller's. Thread rule: the step thread.
#pragma once

#include "engine/model/families/architecture.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"

namespace precis {

// Scratch of one call, of as many rows as it has.
struct FeedForwardScratch {
  Activations normed;  // [rows, d_model]; what comes in where the norm is after the sublayer
  float* wide;         // [rows, n of wi]
  Activations hidden;  // [rows, d_ff]
};

// x: [rows, d_model], the residual stream, which is added to. Where the norm is after the sublayer,
// x is normed then, and `out` gets what the next matrix reads; else `out` is not used.
void AddFeedForward(const FeedForward& ffn, const Architecture& arch,
                    const FeedForwardScratch& scratch, const Activations& out, Backend& backend,
                    float* x);

}  // namespace precis
