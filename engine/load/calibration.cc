#include "engine/load/calibration.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/clock.h"

namespace precis {
namespace {

// Of decode steps: a document of about the usual length. What it adds to every row changes ratios
// little.
constexpr uint32_t kSourceTokens = 256;
// The shortest of several sweeps counts; calibration takes about this long at most.
constexpr int kSweeps = 5;
constexpr double kBudgetUs = 1e6;

}  // namespace

Calibration::Calibration(Model& model)
    : model_(model), batch_(model.MakeBatch()), picker_(model.MakePicker()) {}

// Microseconds of the layer-0 items of `stage` for a document of `tokens` tokens.
double Calibration::TimeItems(uint32_t tokens, EncodeStage stage) {
  std::vector<int32_t> ids(tokens, model_.config.tokens.start);
  std::vector<PageId> pages(PagesFor(tokens, model_.layout.cross.slots));
  std::iota(pages.begin(), pages.end(), 0);
  const SteadyClock clock;
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const TimePoint start = clock.Now();
    for (uint32_t i = 0; i < NumEncodeItems(model_.encode_shape, tokens); ++i) {
      const EncodeItem item = EncodeItemAt(model_.encode_shape, tokens, i);
      if (item.stage != stage || item.layer != 0) continue;
      model_.encoder.Run(item, ids, pages, model_.workspaces[0]);
    }
    model_.backend->Wait().IgnoreError();  // LoadModel() waits again and has the error
    const double us = Microseconds(clock.Now() - start);
    best = round == 0 ? us : std::min(best, us);
  }
  return best;
}

EncodeCosts Calibration::TimeEncoder() {
  EncodeCosts costs;
  const uint64_t most =
      std::min<uint64_t>({model_.workspaces[0].x.size() / model_.config.d_model,
                          uint64_t{model_.memory.num_pages()} * model_.layout.cross.slots, 512});
  const auto small = static_cast<uint32_t>(std::max<uint64_t>(1, most / 4));
  const auto large = static_cast<uint32_t>(most);
  costs.qkv_us_per_row = TimeItems(large, EncodeStage::kQkv) / large;
  const double few = TimeItems(small, EncodeStage::kAttention) / small;
  const double many = TimeItems(large, EncodeStage::kAttention) / large;
  const double per_key = large > small ? std::max(0.0, (many - few) / (large - small)) : 0.0;
  costs.attention_us_per_row_key = per_key;
  costs.attention_us_per_row = std::max(many - per_key * large, 0.0);
  costs.cross_us_per_row = TimeItems(large, EncodeStage::kCross) / large;
  return costs;
}

// Microseconds of a decode step with `rows` rows of one sequence. Pages hold nothing yet.
double Calibration::TimeStep(uint32_t rows) {
  const uint32_t slots = model_.layout.self.slots;
  const uint32_t self = PagesFor(rows, slots);
  const uint32_t left = model_.memory.num_pages() > self ? model_.memory.num_pages() - self : 1;
  const uint32_t tokens =
      std::min({kSourceTokens, model_.limits.max_source_tokens, left * model_.layout.cross.slots});
  const GenerationOptions greedy;
  const int32_t start = model_.config.tokens.start;
  picker_.Clear();
  batch_.Clear();
  batch_.self_pages.push_back(0);
  for (uint32_t i = 0; i * model_.layout.cross.slots < tokens; ++i) {
    batch_.cross_pages.push_back(static_cast<int32_t>(model_.memory.num_pages() - 1 - i));
  }
  for (uint32_t i = 0; i < rows; ++i) {
    batch_.tokens.push_back(start);
    batch_.slots.push_back({static_cast<int32_t>(i / slots), i % slots});
    batch_.self_rows.push_back({0, 1, 0});
    batch_.cross_rows.push_back({0, tokens, 0});
    batch_.noise.push_back({0, 0});
    picker_.AddRow(greedy, {&start, 1});
  }
  const SteadyClock clock;
  const TimePoint begin = clock.Now();
  model_.decoder.Run(batch_, picker_);
  if (model_.backend->Wait().ok()) picker_.Finish();  // else LoadModel() reports it
  return Microseconds(clock.Now() - begin);
}

// Sweeps over all buckets, so that an interruption does not hit all rounds of one of them. Where
// steps are slow, the largest buckets are left out.
StepCost Calibration::TimeSteps() {
  const uint32_t max_rows = model_.limits.max_batch;
  // A small pool has no slots for more.
  const uint32_t most = (model_.memory.num_pages() - 1) * model_.layout.self.slots;
  const std::vector<uint32_t> buckets = StepCost::Buckets(max_rows);
  std::vector<double> shortest;
  double spent = 0;
  for (int sweep = 0; sweep < kSweeps && spent < kBudgetUs; ++sweep) {
    for (size_t i = 0; i < (sweep == 0 ? buckets.size() : shortest.size()); ++i) {
      if (sweep == 0 && spent > kBudgetUs / 3) break;
      const double us = TimeStep(std::min({buckets[i], max_rows, most}));
      spent += us;
      if (sweep == 0) shortest.push_back(us);
      shortest[i] = std::min(shortest[i], us);
    }
  }
  return {max_rows, shortest};
}

}  // namespace precis
