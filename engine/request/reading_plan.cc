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
  if (2 * (ids.size() + 1) <= limits_.max_source_tokens) return OkStatus();
  return FieldError("options.prefix",
                    fmt::format("has {} tokens, more than half of the {} that are read at once",
                                ids.size(), limits_.max_source_tokens));
}

// Windows of the length that the model was trained for, larger ones if there would be too many.
StatusOr<std::vector<WindowRange>> ReadingPlanner::Split(const char* field,
                                                         const Parts& parts) const {
  const size_t most = limits_.max_source_tokens;
  const size_t trained = limits_.trained_tokens == 0 ? most : limits_.trained_tokens;
  const size_t fixed = parts.prefix.size() + (parts.ends ? 1 : 0);
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
  const size_t fixed = parts.prefix.size() + (parts.ends ? 1 : 0);
  plan.source_tokens = static_cast<uint32_t>(fixed + parts.body.size());
  size_t longest = 0;
  for (const WindowRange& range : ranges) {
    std::vector<int32_t>& ids = plan.passages.emplace_back(parts.prefix);
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
                                                  bool ends) const {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<int32_t> body, EncodeText(text));
  Parts parts;
  PRECIS_ASSIGN_OR_RETURN(parts.prefix, EncodeText(prefix));
  parts.body = body;
  parts.before = FindBoundaries(tokenizer_, body);
  parts.ends = ends;
  return Windows("text", parts);
}

StatusOr<ReadingPlan> ReadingPlanner::PlanText(std::string_view text, const std::string& prefix,
                                               LongDocumentPolicy policy) const {
  PRECIS_RETURN_IF_ERROR(CheckText(text));
  PRECIS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeText(prefix + std::string(text)));
  ids.push_back(tokenizer_.end_id());
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
  if (policy == LongDocumentPolicy::kWindows) return TextWindows(text, prefix, /*ends=*/true);
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
  const bool ends = ids.back() == tokenizer_.end_id();
  if (limits_.max_source_tokens < 2) return FieldTooLarge("token_ids", "has more than one token");
  if (policy == LongDocumentPolicy::kWindows) {
    Parts parts;
    parts.ends = ends;
    parts.body = std::span(ids).first(tokens - (ends ? 1 : 0));
    parts.before.assign(parts.body.size(), Boundary::kPiece);
    return Windows("token_ids", parts);
  }
  return Truncated("the source has", std::move(ids), ends);
}

StatusOr<ReadingPlan> ReadingPlanner::PlanMerge(std::string_view joined, const std::string& prefix,
                                                bool ends, bool may_split) const {
  PRECIS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeText(prefix + std::string(joined)));
  if (ends) ids.push_back(tokenizer_.end_id());
  const size_t tokens = ids.size();
  if (tokens <= limits_.max_source_tokens) {
    ReadingPlan plan = Whole(std::move(ids));
    WarnOfLength("the summaries of the windows have", tokens, &plan);
    return plan;
  }
  if (may_split) {
    auto windows = TextWindows(joined, prefix, ends);
    if (windows.ok()) return windows;
  }
  return Truncated("the summaries of the windows have", std::move(ids), ends);
}

}  // namespace precis
