#include "cli/document.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <istream>
#include <iterator>

#include "fmt/format.h"

namespace precis::cli {
namespace {

StatusOr<std::string> ReadAll(const std::string& name, std::istream& in) {
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return DataLoss(fmt::format("{}: reading failed", name));
  return text;
}

}  // namespace

StatusOr<std::string> ReadDocument(const std::string& file, std::istream& standard_input) {
  if (file == "-") return ReadAll("standard input", standard_input);
  std::error_code ignored;
  // A directory opens like a file and reads as empty.
  if (std::filesystem::is_directory(file, ignored)) {
    return InvalidArgument(fmt::format("{}: is a directory", file));
  }
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) return NotFound(fmt::format("{}: {}", file, std::strerror(errno)));
  return ReadAll(file, in);
}

}  // namespace precis::cli
