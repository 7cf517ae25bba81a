#include "engine/load/model_probe.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/check.h"

namespace precis {
namespace {

// Puts the panels of one row side by side.
class WholeRow final : public VocabularySink {
 public:
  WholeRow(Backend& backend, std::vector<float>* out) : backend_(backend), out_(out) {}
  void Take(int32_t /*first_token*/, size_t count, float* scores) override {
    const size_t begin = out_->size();
    out_->resize(begin + count);
    backend_.Download(scores, count * sizeof(float), out_->data() + begin);
  }

 private:
  Backend& backend_;
  std::vector<float>* const out_;
};

}  // namespace

std::vector<float> ModelProbe::Encode(std::span<const int32_t> ids) {
  const auto tokens = static_cast<uint32_t>(ids.size());
  std::vector<PageId> pages(PagesFor(tokens, model_.layout.cross.slots));
  PRECIS_CHECK(pages.size() <= model_.memory.num_pages());
  std::iota(pages.begin(), pages.end(), 0);
  for (uint32_t i = 0; i < NumEncodeItems(model_.encode_shape, tokens); ++i) {
    model_.encoder.Run(EncodeItemAt(model_.encode_shape, tokens, i), ids, pages,
                       model_.workspaces[0]);
  }
  const Activations encoded = model_.workspaces[0].encoded.Rows(0, tokens);
  std::vector<float> out(size_t{tokens} * model_.config.d_model);
  if (encoded.dtype == DType::kF32) {
    model_.backend->Download(encoded.data, out.size() * sizeof(float), out.data());
    return out;
  }
  std::vector<uint16_t> bits(out.size());
  model_.backend->Download(encoded.data, bits.size() * sizeof(uint16_t), bits.data());
  std::ranges::transform(bits, out.begin(), BF16ToF32);
  return out;
}

std::vector<float> ModelProbe::Logits(std::span<const int32_t> ids, std::span<const int32_t> target,
                                      uint64_t noise_seed, std::vector<HeadSplit>* splits) {
  Encode(ids);
  const auto tokens = static_cast<uint32_t>(ids.size());
  const uint32_t cross = PagesFor(tokens, model_.layout.cross.slots);
  const uint32_t slots = model_.layout.self.slots;
  PRECIS_CHECK(cross + PagesFor(target.size(), slots) <= model_.memory.num_pages());
  DecodeBatch batch = model_.MakeBatch();
  std::vector<float> out;
  WholeRow sink(*model_.backend, &out);
  for (uint32_t t = 0; t < target.size(); ++t) {
    batch.Clear();
    batch.tokens.push_back(target[t]);
    batch.slots.push_back({static_cast<int32_t>(cross + t / slots), t % slots});
    batch.self_rows.push_back({0, t + 1, t});
    for (uint32_t p = 0; p <= t / slots; ++p) {
      batch.self_pages.push_back(static_cast<int32_t>(cross + p));
    }
    batch.cross_rows.push_back({0, tokens, t});
    batch.noise.push_back({noise_seed, t});
    for (uint32_t p = 0; p < cross; ++p) batch.cross_pages.push_back(static_cast<int32_t>(p));
    model_.decoder.Run(batch, sink);
    if (splits != nullptr) AddSplits(t, splits);
  }
  return out;
}

// Those of the step of one row that was run last.
void ModelProbe::AddSplits(uint32_t position, std::vector<HeadSplit>* out) const {
  for (uint32_t layer = 0; layer < model_.weights.decoder.size(); ++layer) {
    for (const AttentionKind kind : {AttentionKind::kSelf, AttentionKind::kCross}) {
      const std::vector<uint32_t> begin = model_.decoder.attention().Assigned(layer, kind, 1);
      if (begin.empty()) return;
      HeadSplit split{layer, kind == AttentionKind::kCross, position, {}};
      for (size_t g = 1; g < begin.size(); ++g) split.heads.push_back(begin[g] - begin[g - 1]);
      out->push_back(std::move(split));
    }
  }
}

}  // namespace precis
