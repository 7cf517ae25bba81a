#include "engine/run/paced_steps.h"

namespace precis {
namespace {

// Encoder work a step may hold while nothing decodes: enough to fill a batch with short documents,
// short enough that cancellation and shutdown stay prompt.
constexpr double kIdleEncodeUs = 50'000;

}  // namespace

SchedulerOptions SchedulerOptionsOf(const EngineOptions& options, const ModelRunner& runner) {
  SchedulerOptions s;
  s.max_sequences = options.max_sequences;
  s.max_batch = options.max_batch;
  s.self_slots = runner.self_slots();
  s.cross_slots = runner.cross_slots();
  s.keep_documents = options.cross_cache;
  s.encode_shape = runner.encode_shape();
  s.encode_costs = runner.encode_costs();
  return s;
}

PacedSteps::PacedSteps(const EngineOptions& options, Scheduler& scheduler, ModelRunner& runner)
    : scheduler_(scheduler),
      runner_(runner),
      encode_costs_(runner.encode_costs()),
      pace_(options.encode_budget) {
  drafts_.reserve(options.max_batch);
}

const StepPlan& PacedSteps::Next() {
  const bool decodes = scheduler_.decoding() > 0;
  const double encode_us =
      decodes || pace_.Unlimited() ? pace_.BudgetMicroseconds() : kIdleEncodeUs;
  runner_.ProposeDrafts(scheduler_.decoding_sequences(), scheduler_.spare_rows(), &drafts_);
  return scheduler_.Schedule({encode_us, drafts_});
}

PlannedEncodes PacedSteps::Observe(const StepPlan& plan, double step_us, double decode_us) {
  PlannedEncodes encodes;
  const EncodeShape shape = runner_.encode_shape();
  for (const EncodeSlice& slice : plan.encodes) {
    const uint32_t tokens = scheduler_.document_tokens(slice.document);
    for (uint32_t i = slice.begin_item; i < slice.end_item; ++i) {
      const EncodeItem item = EncodeItemAt(shape, tokens, i);
      encodes.rows += item.row_end - item.row_begin;
      encodes.predicted_us += PredictMicroseconds(encode_costs_, item, tokens);
    }
    if (slice.last) encodes.finished_tokens += tokens;
  }
  if (!plan.decodes.empty()) {
    pace_.Observe(decode_us, encodes.predicted_us, step_us - decode_us);
  }
  return encodes;
}

}  // namespace precis
