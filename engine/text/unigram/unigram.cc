#include "engine/text/unigram/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace precis {
namespace {

// SentencePiece's numbers: how far an unknown character is below the worst piece, and the sum of
// scores at which it starts counting from zero, lest a long text lose what tells near ties apart.
constexpr float kUnknownPenalty = 10.0f;
constexpr float kScoreResetThreshold = 100'000.0f;

size_t CharBytes(char lead) {
  constexpr uint8_t kBytes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
  return kBytes[static_cast<uint8_t>(lead) >> 4];
}

}  // namespace

struct Unigram::Output {
  std::vector<int32_t> ids;
  bool after_unknown = false;
};

Unigram::Unigram(const UnigramSpec& spec) : pieces_(spec.pieces) {
  float min_score = std::numeric_limits<float>::max();
  max_score_ = std::numeric_limits<float>::lowest();
  if (spec.byte_fallback) byte_ids_.assign(256, 0);
  std::vector<std::pair<std::string_view, uint32_t>> entries;
  for (size_t id = 0; id < pieces_.size(); ++id) {
    const Piece& piece = pieces_[id];
    switch (piece.type) {
      case PieceType::kNormal:
        min_score = std::min(min_score, piece.score);
        max_score_ = std::max(max_score_, piece.score);
        [[fallthrough]];
      case PieceType::kUserDefined:
        entries.emplace_back(piece.text, static_cast<uint32_t>(id));
        break;
      case PieceType::kUnknown:
        unk_id_ = static_cast<int32_t>(id);
        break;
      case PieceType::kByte:
        byte_ids_[static_cast<size_t>(ByteOfPiece(piece.text))] = static_cast<int32_t>(id);
        break;
      case PieceType::kControl:
      case PieceType::kUnused:
        break;
    }
  }
  unk_score_ = min_score - kUnknownPenalty;
  trie_ = PieceTrie(std::move(entries));
}

size_t Unigram::Extend(std::string_view text, size_t begin, size_t base,
                       std::vector<Node>* nodes) const {
  const size_t char_bytes = std::min(CharBytes(text[begin]), text.size() - begin);
  const float so_far = (*nodes)[begin - base].score;
  size_t reach = begin;
  bool char_is_piece = false;
  const auto offer = [&](size_t end, int32_t id, float score) {
    if (nodes->size() <= end - base) nodes->resize(end - base + 1);
    Node& node = (*nodes)[end - base];
    if (node.length == 0 || score > node.score) {
      node = {id, static_cast<uint32_t>(end - begin), score};
    }
    reach = std::max(reach, end);
  };
  uint32_t at = PieceTrie::kRoot;
  for (size_t end = begin; end < text.size();) {
    at = trie_.Child(at, static_cast<uint8_t>(text[end++]));
    if (at == PieceTrie::kNone) break;
    const uint32_t id = trie_.Value(at);
    if (id == PieceTrie::kNone) continue;
    const Piece& piece = pieces_[id];
    // A user-defined piece always wins.
    const float score = piece.type == PieceType::kUserDefined
                            ? static_cast<float>(end - begin) * max_score_ - 0.1f
                            : piece.score;
    offer(end, static_cast<int32_t>(id), score + so_far);
    char_is_piece |= end - begin == char_bytes;
  }
  if (!char_is_piece) offer(begin + char_bytes, unk_id_, unk_score_ + so_far);
  return reach;
}

void Unigram::Emit(std::string_view text, size_t base, const std::vector<Node>& nodes,
                   Output* out) const {
  const size_t first = out->ids.size();
  // Backwards over the best path; unknown runs are joined and bytes spelled in reverse, too.
  std::vector<int32_t>& ids = out->ids;
  bool after_unknown = false;
  size_t end = nodes.size() - 1;
  while (end > 0) {
    const Node& node = nodes[end];
    const size_t begin = end - node.length;
    const bool unknown = node.id == unk_id_;
    if (unknown && !byte_ids_.empty()) {
      for (size_t i = end; i > begin; --i) {
        ids.push_back(byte_ids_[static_cast<uint8_t>(text[base + i - 1])]);
      }
    } else if (!unknown || !after_unknown) {
      ids.push_back(node.id);
    }
    after_unknown = unknown;
    end = begin;
  }
  std::reverse(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
  // The run of unknowns may have begun before this part.
  if (byte_ids_.empty() && out->after_unknown && first < ids.size() && ids[first] == unk_id_) {
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(first));
  }
  if (!ids.empty()) out->after_unknown = ids.back() == unk_id_;
}

void Unigram::Recenter(size_t first, std::vector<Node>* nodes) {
  const float offset = (*nodes)[first].score;
  if (std::abs(offset) <= kScoreResetThreshold) return;
  (*nodes)[first].score = 0;
  for (size_t i = first + 1; i < nodes->size(); ++i) {
    if ((*nodes)[i].length > 0) (*nodes)[i].score -= offset;
  }
}

std::vector<int32_t> Unigram::Encode(std::string_view normalized) const {
  Output out;
  std::vector<Node> nodes(1);
  size_t base = 0;
  size_t reach = 0;  // no piece seen so far ends after this
  for (size_t begin = 0; begin < normalized.size();) {
    // Where no piece crosses, every path meets: what is before can be given out and forgotten,
    // which keeps memory small without changing a result. The score goes on.
    if (begin == reach && begin > base) {
      Emit(normalized, base, nodes, &out);
      nodes.assign(1, Node{.score = nodes[begin - base].score});
      base = begin;
    }
    Recenter(begin - base, &nodes);
    reach = std::max(reach, Extend(normalized, begin, base, &nodes));
    begin += std::min(CharBytes(normalized[begin]), normalized.size() - begin);
  }
  if (!normalized.empty()) Emit(normalized, base, nodes, &out);
  return std::move(out.ids);
}

}  // namespace precis
