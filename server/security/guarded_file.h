// Files that hold secrets, or decide who gets in: read whole, only where no one else may meddle.
//
// Called at start and at each reload. Thread rule: functions without state.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace precis {

enum class FileRule {
  kSecret,  // others may not read it, nor others or its group write it
  kPublic,  // others or its group may not write it
};

// A regular file of at most 1 MiB. INVALID_ARGUMENT or FAILED_PRECONDITION naming the path.
StatusOr<std::string> ReadGuardedFile(const std::string& path, FileRule rule);

// Differs when the file was changed, replaced or given other permissions; empty: it is not there.
std::string FileStamp(const std::string& path);

}  // namespace precis
