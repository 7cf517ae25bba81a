#include "cli/client/document.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <istream>
#include <iterator>
#include <string_view>

#include "fmt/format.h"

namespace precis::cli {
namespace {

// Length of the UTF-8 character that `text` begins with; 0 if it begins with none. Overlong forms,
// surrogates and what lies past U+10FFFF are none (RFC 3629).
size_t CharacterLength(std::string_view text) {
  const auto byte = [&](size_t i) -> uint32_t {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const uint32_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first < 0xC2   ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint32_t second = byte(1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
  if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
  return length;
}

// The wire carries text as UTF-8 only; a document in another encoding is better refused here, where
// its name and the place are known.
Status CheckUtf8(const std::string& name, std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text.substr(at));
    if (length == 0) return InvalidArgument(fmt::format("{}: byte {} is not UTF-8", name, at));
    at += length;
  }
  return OkStatus();
}

StatusOr<std::string> ReadAll(const std::string& name, std::istream& in) {
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return DataLoss(fmt::format("{}: reading failed", name));
  PRECIS_RETURN_IF_ERROR(CheckUtf8(name, text));
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
