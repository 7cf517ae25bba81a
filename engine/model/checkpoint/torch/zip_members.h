// The members of a zip archive as torch writes it: stored, never compressed, read by place. Ours
// and not libzip's, because tensors are read with pread where they lie, which libzip does not tell,
// and because what must be checked (stored, no name twice, no bytes shared) is what it hides.
//
// Called by OpenTorchFile. Thread rule: a function, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/file/file_bytes.h"

namespace precis {

struct ZipMember {
  std::string name;
  uint64_t begin = 0;  // of its data in the file
  uint64_t bytes = 0;
};

// Sorted by name. The error names the member, not the file.
StatusOr<std::vector<ZipMember>> ReadZipMembers(const FileBytes& file);

}  // namespace precis
