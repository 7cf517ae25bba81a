#include "engine/model/checkpoint/file/shown.h"

#include "common/log.h"

namespace precis {
namespace {

constexpr size_t kMaxShownBytes = 160;

}  // namespace

std::string Shown(std::string_view text) {
  std::string shown = JsonEscape(text.substr(0, kMaxShownBytes));
  if (text.size() > kMaxShownBytes) shown += "...";
  return shown;
}

}  // namespace precis
