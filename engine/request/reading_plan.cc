#include "engine/request/reading_plan.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "engine/api/too_long.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Of a window, shared with the one before it: about two sentences at 512 tokens, so that what is
// said across a cut is whole in one of them.
constexpr size_t kOverlapPart = 8;

}  // namespace

StatusOr<std::vector<int32_t>> ReadingPlanner::EncodeText(std::string_view text) const {
  auto ids = tokenizer_.Encode(text);
  if (!ids.ok()) return FieldError("text", std::string(ids.status().message()));
  return ids;
}

std::vector<int32_t> ReadingPlanner::Beginning(SourceFrame frame) const {
  const std::span<const int32_t> ids = tokenizer_.source_prefix();
  return frame.begins ? std::vector<int32_t>(ids.begin(), ids.end()) : std::vector<int32_t>();
}

StatusOr<std::vector<int32_t>> ReadingPlanner::EncodeSource(std::string_view text,
                                                            const std::string& prefix,
                                                            SourceFrame frame) const {
  std::vector<int32_t> ids = Beginning(frame);
  PRECIS_ASSIGN_OR_RETURN(const std::vector<int32_t> body, EncodeText(prefix + std::string(text)));
  ids.insert(ids.end(), body.begin(), body.end());
  if (frame.ends) ids.push_back(tokenizer_.end_id());
  return ids;
}

SourceFrame ReadingPlanner::FrameOf(std::span<const int32_t> ids) const {
  const std::span<const int32_t> before = tokenizer_.source_prefix();
  SourceFrame frame;
  frame.begins =
      ids.size() >= before.size() && std::ranges::equal(before, ids.first(before.size()));
  frame.ends = ids.size() > (frame.begins ? before.size() : 0) && ids.back() == tokenizer_.end_id();
  return frame;
}

void ReadingPlanner::WarnOfLength(std::string_view what, size_t tokens, ReadingPlan* plan) const {
  if (limits_.trained_tokens == 0 || tokens <= limits_.trained_tokens) return;
  plan->warnings.push_back(
      fmt::format("{} {} tokens, more than the {} positions of the model's training", what, tokens,
                  limits_.trained_tokens));
}

ReadingPlan ReadingPlanner::Whole(std::vector<int32_t> ids) const {
  ReadingPlan plan;
  plan.source_tokens = static_cast<uint32_t>(ids.size());
  plan.passages.push_back(std::move(ids));
  return plan;
}

ReadingPlan ReadingPlanner::Truncated(std::string_view what, std::vector<int32_t> ids,
                                      bool ends) const {
  const size_t tokens = ids.size();
  ids.resize(limits_.max_source_tokens);
  if (ends) ids.back() = tokenizer_.end_id();
  ReadingPlan plan = Whole(std::move(ids));
  plan.source_tokens_dropped = static_cast<uint32_t>(tokens - limits_.max_source_tokens);
  plan.warnings.push_back(fmt::format("{} {} tokens; the last {} were left out", what, tokens,
                                      plan.source_tokens_dropped));
  WarnOfLength("the rest has", plan.source_tokens, &plan);
  return plan;
}

// Of the document alone: what is wrong with it is not seen with a prefix before it.
Status ReadingPlanner::CheckText(std::string_view text) const {
  if (const auto offset = FindBrokenUtf8(text)) {
    return FieldError("text", fmt::format("not UTF-8 at byte {}", *offset));
  }
  if (!tokenizer_.IsBlank(text)) return OkStatus();
  return FieldError("text", text.empty() ? "is empty" : "holds nothing but white space");
}

Status ReadingPlanner::CheckPrefix(const std::string& prefix) const {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, EncodeText(prefix));
  const size_t fixed = tokenizer_.source_prefix().size() + ids.size() + 1;
  if (2 * fixed <= limits_.max_source_tokens) return OkStatus();
  return FieldError("options.prefix",
                    fmt::format("has {} tokens, more than half of the {} that are read at once",
                                ids.size(), limits_.max_source_tokens));
}

// Windows of the length that the model was trained for, larger ones if there would be too many.
StatusOr<std::vector<WindowRange>> ReadingPlanner::Split(const char* field,
                                                         const Parts& parts) const {
  const size_t most = limits_.max_source_tokens;
  const size_t trained = limits_.trained_tokens == 0 ? most : limits_.trained_tokens;
  const size_t fixed = parts.before_all.size() + (parts.ends ? 1 : 0);
  PRECIS_CHECK(fixed < most);
  for (size_t window = std::min(trained, most);; window = std::min(2 * window, most)) {
    if (2 * fixed > window && window < most) continue;  // hardly any room in it
    auto ranges = SplitWindows(parts.before, window - fixed, window / kOverlapPart);
    if (ranges.size() <= kMaxWindows) return ranges;
    if (window < most) continue;
    return FieldTooLarge(field, fmt::format("has {} tokens, which are {} windows of {} tokens; at "
                                            "most {} windows are read; {}",
                                            fixed + parts.body.size(), ranges.size(), window,
                                            kMaxWindows, kSendInParts));
  }
}

StatusOr<ReadingPlan> ReadingPlanner::Windows(const char* field, const Parts& parts) const {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<WindowRange> ranges, Split(field, parts));
  ReadingPlan plan;
  const size_t fixed = parts.before_all.size() + (parts.ends ? 1 : 0);
  plan.source_tokens = static_cast<uint32_t>(fixed + parts.body.size());
  size_t longest = 0;
  for (const WindowRange& range : ranges) {
    std::vector<int32_t>& ids = plan.passages.emplace_back(parts.before_all);
    const std::span<const int32_t> part = parts.body.subspan(range.begin, range.size());
    ids.insert(ids.end(), part.begin(), part.end());
    if (parts.ends) ids.push_back(tokenizer_.end_id());
    longest = std::max(longest, ids.size());
  }
  WarnOfLength("windows have up to", longest, &plan);
  return plan;
}

// The prefix is tokenized apart from the text, since it begins every window.
StatusOr<ReadingPlan> ReadingPlanner::TextWindows(std::string_view text, const std::string& prefix,
                                                  SourceFrame frame) const {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<int32_t> body, EncodeText(text));
  Parts parts;
  PRECIS_ASSIGN_OR_RETURN(parts.before_all,
                          EncodeSource("", prefix, {.begins = frame.begins, .ends = false}));
  parts.body = body;
  parts.before = FindBoundaries(tokenizer_, body);
  parts.ends = frame.ends;
  return Windows("text", parts);
}

StatusOr<ReadingPlan> ReadingPlanner::PlanText(std::string_view text, const std::string& prefix,
                                               LongDocumentPolicy policy) const {
  PRECIS_RETURN_IF_ERROR(CheckText(text));
  PRECIS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeSource(text, prefix, SourceFrame()));
  const size_t tokens = ids.size();
  if (tokens <= limits_.max_source_tokens) {
    ReadingPlan plan = Whole(std::move(ids));
    WarnOfLength("the source has", tokens, &plan);
    return plan;
  }
  if (policy == LongDocumentPolicy::kRefuse) {
    return FieldTooLarge("text",
                         SourceTooLong(tokens, {limits_.max_source_tokens, limits_.positions}));
  }
  PRECIS_RETURN_IF_ERROR(CheckPrefix(prefix));
  if (policy == LongDocumentPolicy::kWindows) return TextWindows(text, prefix, SourceFrame());
  return Truncated("the source has", std::move(ids), /*ends=*/true);
}

StatusOr<ReadingPlan> ReadingPlanner::PlanIds(std::vector<int32_t> ids,
                                              LongDocumentPolicy policy) const {
  const size_t tokens = ids.size();
  // Too long and to be refused: the engine does that.
  if (tokens <= limits_.max_source_tokens || policy == LongDocumentPolicy::kRefuse) {
    ReadingPlan plan = Whole(std::move(ids));
    WarnOfLength("the source has", tokens, &plan);
    return plan;
  }
  const SourceFrame frame = FrameOf(ids);
  Parts parts;
  parts.before_all = Beginning(frame);
  parts.ends = frame.ends;
  const size_t begin = parts.before_all.size();
  const size_t fixed = begin + (frame.ends ? 1 : 0);
  if (limits_.max_source_tokens < std::max<size_t>(fixed + 1, 2)) {
    return FieldTooLarge("token_ids", fmt::format("has {} tokens, and the limit of {} leaves no "
                                                  "room for a part of them",
                                                  tokens, limits_.max_source_tokens));
  }
  if (policy == LongDocumentPolicy::kWindows) {
    parts.body = std::span(ids).subspan(begin, tokens - fixed);
    parts.before.assign(parts.body.size(), Boundary::kPiece);
    return Windows("token_ids", parts);
  }
  return Truncated("the source has", std::move(ids), frame.ends);
}

StatusOr<ReadingPlan> ReadingPlanner::PlanMerge(std::string_view joined, const std::string& prefix,
                                                SourceFrame frame, bool may_split) const {
  PRECIS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeSource(joined, prefix, frame));
  const size_t tokens = ids.size();
  if (tokens <= limits_.max_source_tokens) {
    ReadingPlan plan = Whole(std::move(ids));
    WarnOfLength("the summaries of the windows have", tokens, &plan);
    return plan;
  }
  if (may_split) {
    auto windows = TextWindows(joined, prefix, frame);
    if (windows.ok()) return windows;
  }
  return Truncated("the summaries of the windows have", std::move(ids), frame.ends);
}

}  // namespace precis
