// What decode steps of more and more rows cost, timed at load: the planner of drafts weighs with
// it.
#include <algorithm>

#include "common/clock.h"
#include "engine/run/t5_runner.h"

namespace precis {
namespace {

// A document of about the usual length. What it adds to every row changes ratios little.
constexpr uint32_t kSourceTokens = 256;
// The shortest of several sweeps counts; calibration takes about this long at most.
constexpr int kSweeps = 5;
constexpr double kBudgetUs = 1e6;

}  // namespace

// Microseconds of a decode step with `rows` rows of one sequence. Pages hold nothing yet.
double T5Runner::TimeStep(uint32_t rows) {
  const uint32_t slots = layout_.self.slots;
  const uint32_t self = (rows + slots - 1) / slots;
  const uint32_t left = num_pages() > self ? num_pages() - self : 1;
  const uint32_t tokens = std::min({kSourceTokens, max_source_tokens_, left * cross_slots()});
  const GenerationOptions greedy;
  const int32_t start = config_.tokens.start;
  picker_.Clear();
  batch_.Clear();
  batch_.self_pages.push_back(0);
  for (uint32_t i = 0; i * cross_slots() < tokens; ++i) {
    batch_.cross_pages.push_back(static_cast<int32_t>(num_pages() - 1 - i));
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
  decoder_.Run(batch_, picker_);
  if (backend_->Wait().ok()) picker_.Finish();  // else Load() tells it
  return Microseconds(clock.Now() - begin);
}

// Sweeps over all buckets, so that an interruption does not hit all rounds of one of them. Where
// steps are slow, the largest buckets are left out.
StepCost T5Runner::CalibrateSteps(uint32_t max_rows) {
  const uint32_t most = (num_pages() - 1) * self_slots();  // that a pool so small has slots for
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
