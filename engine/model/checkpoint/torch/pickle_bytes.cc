#include "engine/model/checkpoint/torch/pickle_bytes.h"

#include <algorithm>
#include <span>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr uint64_t kWindowBytes = 64u << 10;
constexpr uint64_t kMaxTextBytes = 1u << 20;
constexpr size_t kMaxLineBytes = 1024;

}  // namespace

StatusOr<std::string_view> PickleBytes::Take(uint64_t count) {
  if (count > end_ - position()) {
    return DataLoss(fmt::format("the pickle ends at byte {}, {} more are needed", end_,
                                count - (end_ - position())));
  }
  if (count > kMaxTextBytes) {
    return InvalidArgument(
        fmt::format("{} bytes in one piece, more than {}", count, kMaxTextBytes));
  }
  if (position() - begin_ + count > kMaxPickleBytes) {
    return InvalidArgument(fmt::format("the pickle is longer than {} bytes", kMaxPickleBytes));
  }
  if (count > window_.size() - used_) {
    window_at_ += used_;
    used_ = 0;
    window_.resize(std::min(end_ - window_at_, std::max(count, kWindowBytes)));
    PRECIS_RETURN_IF_ERROR(file_.Read(window_at_, std::as_writable_bytes(std::span(window_))));
  }
  used_ += count;
  return std::string_view(window_).substr(used_ - count, count);
}

StatusOr<uint64_t> PickleBytes::TakeNumber(size_t count) {
  PRECIS_ASSIGN_OR_RETURN(const std::string_view bytes, Take(count));
  uint64_t number = 0;
  for (size_t i = count; i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[i]);
  return number;
}

StatusOr<std::string> PickleBytes::TakeLine() {
  std::string line;
  for (;;) {
    PRECIS_ASSIGN_OR_RETURN(const std::string_view byte, Take(1));
    if (byte[0] == '\n') return line;
    if (line.size() == kMaxLineBytes) {
      return InvalidArgument(fmt::format("a line of more than {} bytes", kMaxLineBytes));
    }
    line += byte[0];
  }
}

}  // namespace precis
