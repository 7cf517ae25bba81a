#include "engine/model/checkpoint/file/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fmt/format.h"

namespace precis {

StatusOr<FileBytes> FileBytes::Open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    const int error = errno;  // what is called below may change it
    const std::string message = fmt::format("{}: {}", path, std::strerror(error));
    return error == ENOENT ? NotFound(message) : FailedPrecondition(message);
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return FailedPrecondition(fmt::format("{}: not a regular file", path));
  }
  FileBytes bytes(path, std::move(file));
  bytes.size_ = static_cast<uint64_t>(info.st_size);
  return bytes;
}

Status FileBytes::Read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(file_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DataLoss(fmt::format("read at {}: {}", offset, std::strerror(errno)));
    if (n == 0) return DataLoss(fmt::format("the file ends at byte {}", offset));
    offset += static_cast<uint64_t>(n);
    out = out.subspan(static_cast<size_t>(n));
  }
  return OkStatus();
}

}  // namespace precis
