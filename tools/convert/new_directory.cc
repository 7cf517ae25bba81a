#include "tools/convert/new_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "fmt/format.h"

namespace precis {
namespace {

Status SystemError(const std::string& path, const char* what) {
  return FailedPrecondition(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// "out/" names the directory "out".
std::string WithoutSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Status SyncDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError(path, "cannot open");
  const bool synced = ::fsync(fd) == 0;
  const Status status = synced ? OkStatus() : SystemError(path, "cannot sync");
  ::close(fd);
  return status;
}

// mkdtemp makes what only its owner may enter; a checkpoint is like any other new directory.
Status OpenToOthers(const std::string& path) {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return ::chmod(path.c_str(), 0777 & ~mask) == 0 ? OkStatus() : SystemError(path, "cannot chmod");
}

bool RenameToNew(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  // A file system without that flag: look, then rename.
  if (!CheckAbsent(to).ok()) {
    errno = EEXIST;
    return false;
  }
  return ::rename(from.c_str(), to.c_str()) == 0;
}

}  // namespace

Status CheckAbsent(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    return FailedPrecondition(fmt::format("{}: is there already; nothing is overwritten", path));
  }
  if (errno != ENOENT) return SystemError(path, "cannot look at");
  const std::string parent = ParentOf(WithoutSlashes(path));
  if (::stat(parent.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return OkStatus();
  return FailedPrecondition(fmt::format("{}: {} is no directory", path, parent));
}

StatusOr<std::unique_ptr<NewDirectory>> NewDirectory::Begin(const std::string& destination) {
  const std::string target = WithoutSlashes(destination);
  PRECIS_RETURN_IF_ERROR(CheckAbsent(target));
  const std::filesystem::path name(target);
  std::string pattern =
      fmt::format("{}/.{}.partial-XXXXXX", ParentOf(target), name.filename().string());
  if (::mkdtemp(pattern.data()) == nullptr) return SystemError(pattern, "cannot make");
  return std::unique_ptr<NewDirectory>(new NewDirectory(pattern, target));
}

NewDirectory::~NewDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Status NewDirectory::Commit() {
  PRECIS_RETURN_IF_ERROR(OpenToOthers(path_));
  PRECIS_RETURN_IF_ERROR(SyncDirectory(path_));
  if (!RenameToNew(path_, destination_)) {
    if (errno == EEXIST) PRECIS_RETURN_IF_ERROR(CheckAbsent(destination_));
    return SystemError(destination_, "cannot take this name");
  }
  path_.clear();
  return SyncDirectory(ParentOf(destination_));
}

StatusOr<std::unique_ptr<NewFile>> NewFile::Create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return SystemError(path, "cannot create");
  return std::unique_ptr<NewFile>(new NewFile(path, fd));
}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status NewFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(path_, "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return OkStatus();
}

Status NewFile::Close() {
  const bool synced = ::fsync(fd_) == 0;
  Status status = synced ? OkStatus() : SystemError(path_, "cannot sync");
  const bool closed = ::close(fd_) == 0;
  fd_ = -1;
  if (status.ok() && !closed) status = SystemError(path_, "cannot close");
  return status;
}

Status WriteNewFile(const std::string& path, std::string_view text) {
  PRECIS_ASSIGN_OR_RETURN(const auto file, NewFile::Create(path));
  PRECIS_RETURN_IF_ERROR(file->Write(text));
  return file->Close();
}

}  // namespace precis
