// Copy-on-write of pages in host memory; what the backends of the host share.
// Thread rule: a pure function but for the target page.
#pragma once

#include "kernels/ops.h"

namespace precis {

// Copies the filled slots of one page, K, V and scales of all layers; of V whole words (KvRegion).
void CopyPageSlots(const KvPool& pool, std::span<const KvRegion> layers, const PageCopyRef& copy);

}  // namespace precis
