#include "tests/simt/async_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "tests/simt/block.h"

namespace precis::simt {

// memset and memcpy are seen by the sanitizers even from here: an overrun is the kernel's.
void CopyAsync(void* shared, const void* global, size_t bytes, size_t source_bytes) {
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 ||
      reinterpret_cast<uintptr_t>(global) % bytes != 0) {
    Fail("cp.async: address not aligned to its " + std::to_string(bytes) + " bytes");
  }
  if (source_bytes > bytes) Fail("cp.async: more source than copy");
  std::memset(shared, 0xff, bytes);
  this_block->thread().open_copies.push_back({static_cast<std::byte*>(shared),
                                              static_cast<const std::byte*>(global), bytes,
                                              source_bytes});
}

void CommitCopies() {
  Thread& thread = this_block->thread();
  thread.copy_groups.push_back(std::exchange(thread.open_copies, {}));
}

void WaitForCopies(size_t left) {
  auto& groups = this_block->thread().copy_groups;
  const size_t arriving = groups.size() > left ? groups.size() - left : 0;
  for (size_t i = 0; i < arriving; ++i) {
    for (const PendingCopy& copy : groups[i]) {
      std::memcpy(copy.to, copy.from, copy.source_bytes);
      std::memset(copy.to + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    }
  }
  groups.erase(groups.begin(), groups.begin() + static_cast<ptrdiff_t>(arriving));
}

}  // namespace precis::simt
