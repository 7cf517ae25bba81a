#include "engine/drafting/drafter.h"

#include <utility>

namespace precis {

Drafter::Drafter(uint32_t max_sequences, uint32_t max_rows, std::unique_ptr<DraftSource> source,
                 std::unique_ptr<DraftPolicy> policy)
    : source_(std::move(source)), policy_(std::move(policy)), states_(max_sequences) {
  candidates_.reserve(max_rows);
}

void Drafter::Join(SequenceId id, std::span<const int32_t> source_ids,
                   const GenerationOptions& options) {
  State& s = states_[id];
  s.drafts = options.num_beams == 1 && options.drafting != Drafting::kOff;
  s.draft = {};
  s.record = {};
  if (s.drafts) source_->Join(id, source_ids, options);
}

void Drafter::Propose(std::span<const SequenceId> decoding, uint32_t rows, uint32_t spare_rows,
                      std::vector<uint32_t>* counts) {
  stood_ = 0;
  step_ = {rows, static_cast<uint32_t>(decoding.size()), spare_rows};
  if (decoding.empty() || spare_rows == 0 || !policy_->CanPay(step_)) {
    counts->assign(decoding.size(), 0);
    return;
  }
  candidates_.clear();
  for (const SequenceId id : decoding) {
    State& s = states_[id];
    s.draft = s.drafts ? source_->Propose(id, s.tokens) : Draft{};
    candidates_.push_back({s.draft, s.record});
  }
  policy_->Plan(step_, candidates_, counts);
}

void Drafter::Observe(SequenceId id, uint32_t fed, uint32_t stood,
                      std::span<const int32_t> tokens) {
  State& s = states_[id];
  if (!s.drafts) return;
  if (fed > 0) policy_->ObserveDraft(s.draft, fed, stood, &s.record);
  stood_ += stood;
  for (const int32_t token : tokens) source_->Push(id, token);
}

void Drafter::ObserveStep(uint32_t rows, double us) {
  if (step_.rows > 0) policy_->ObserveStep(step_, rows, stood_, us);
}

}  // namespace precis
