// A directory that appears whole or not at all: files are written into a hidden sibling, which
// takes its name when everything in it lies on the disk. Owner: the conversion. Thread rule: one
// thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/status.h"

namespace precis {

class NewDirectory {
 public:
  // FAILED_PRECONDITION if `destination` is there already, whatever it is.
  static StatusOr<std::unique_ptr<NewDirectory>> Begin(const std::string& destination);
  // Removes what was not committed.
  ~NewDirectory();
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;

  const std::string& path() const { return path_; }  // where to write
  // Replaces nothing: whoever has made the destination meanwhile keeps it.
  Status Commit();

 private:
  NewDirectory(std::string path, std::string destination)
      : path_(std::move(path)), destination_(std::move(destination)) {}

  std::string path_;  // empty once committed
  std::string destination_;
};

// FAILED_PRECONDITION that names it if there is anything at `path`, a dead link included, or no
// directory that it could be made in.
Status CheckAbsent(const std::string& path);

// A file that is written once, front to back.
class NewFile {
 public:
  static StatusOr<std::unique_ptr<NewFile>> Create(const std::string& path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  Status Write(std::span<const std::byte> bytes);
  Status Write(std::string_view text) { return Write(std::as_bytes(std::span(text))); }
  Status Close();  // once it lies on the disk

 private:
  NewFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_;
};

// A whole small file.
Status WriteNewFile(const std::string& path, std::string_view text);

}  // namespace precis
