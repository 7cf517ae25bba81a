// Too little memory for what is not the model: gRPC's threads, and whatever a serving process
// allocates.
//
// Called by main. Thread rule: each at the place that it names.
#pragma once

#include "common/status.h"

namespace precis {

// Before threads are started. Where the address space is limited (ulimit -v), threads share the
// allocator's arenas: each of its own would take 64 MiB of it, and leave none for stacks.
void ShareArenasInSmallAddressSpaces();

// Before gRPC is started, which aborts where a thread cannot be had: starts as many as it and we
// may start, and ends them. RESOURCE_EXHAUSTED where that is not possible, for want of memory or
// because of a limit on threads.
Status CheckThreads();

// After loading. From now on an allocation by `new` that fails, in whatever thread, ends the
// process with one line and exit code 1: an exception would end it as well, with a dump of its
// memory. What is thrown while a model is loaded is reported by LoadSummarizer(), which knows more.
void EndWhereMemoryEnds();

}  // namespace precis
