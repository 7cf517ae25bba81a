// Which tokens a request, or its checkpoint, forces and forbids: checked against the vocabulary and
// decided. A part of ResolveOptions() (engine/api/generation.h), which is its only caller. Values.
#pragma once

#include "common/status.h"
#include "engine/api/generation.h"

namespace precis {

// FieldError ("options.bad_words[3].ids[1]: ...") for an id outside the vocabulary, a word without
// ids, and for more of either than a step should look at.
Status CheckTokenConstraints(const GenerationOverrides& request, const GenerationLimits& limits);

// Requires what CheckTokenConstraints() checks, of both. FieldError for constraints that exclude
// each other.
Status ResolveTokenConstraints(const GenerationOverrides& checkpoint,
                               const GenerationOverrides& request, const GenerationLimits& limits,
                               GenerationOptions* out);

}  // namespace precis
