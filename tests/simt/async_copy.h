// cp.async under emulation: the bytes arrive when the thread that asked for them waits; until then
// there is poison where they go, so that who reads too early reads NaN.
//
// Called by the shadow of kernels/cuda/ptx.h. Thread rule: that of a CUDA thread.
#pragma once

#include <cstddef>

namespace precis::simt {

void CopyAsync(void* shared, const void* global, size_t bytes, size_t source_bytes);
void CommitCopies();
// Until at most `left` of the groups that were committed last have not arrived.
void WaitForCopies(size_t left);

}  // namespace precis::simt
