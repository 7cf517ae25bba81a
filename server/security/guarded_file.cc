#include "server/security/guarded_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/descriptor.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr size_t kMaxBytes = 1u << 20;

Status CheckMode(const struct stat& info, const std::string& path, FileRule rule) {
  if (!S_ISREG(info.st_mode)) {
    return InvalidArgument(fmt::format("{}: is not a regular file", path));
  }
  const unsigned mode = info.st_mode & 0777;
  if (rule == FileRule::kSecret && (mode & 0007) != 0) {
    return FailedPrecondition(fmt::format(
        "{}: its mode {:04o} opens it to everybody; chmod 600, or 640 for a group", path, mode));
  }
  if ((mode & 0022) != 0) {
    return FailedPrecondition(
        fmt::format("{}: its mode {:04o} lets others than its owner write it", path, mode));
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::string> ReadGuardedFile(const std::string& path, FileRule rule) {
  // Without waiting for the writer of a pipe; what was opened is what is checked.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!file || fstat(file.get(), &info) != 0) {
    return InvalidArgument(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  }
  PRECIS_RETURN_IF_ERROR(CheckMode(info, path, rule));
  std::string text;
  char buffer[16384];
  while (true) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return InvalidArgument(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
    }
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMaxBytes) {
      return InvalidArgument(fmt::format("{}: has more than {} bytes", path, kMaxBytes));
    }
  }
}

std::string FileStamp(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return "";
  return fmt::format("{}.{} {} {}.{} {}.{}", info.st_dev, info.st_ino, info.st_size,
                     info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec,
                     info.st_ctim.tv_nsec);
}

}  // namespace precis
