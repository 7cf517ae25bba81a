#include "engine/run/step_runner.h"

#include <utility>

#include "common/clock.h"
#include "engine/sched/scheduler.h"

namespace precis {
namespace {

// What follows where the options leave no token: an end, or without one the token that generate()
// takes there.
int32_t LastResort(const SpecialTokens& tokens) { return tokens.ends.empty() ? 0 : tokens.ends.front(); }

}  // namespace

StepRunner::StepRunner(Parts parts)
    : model_(std::move(parts.model)),
      encode_costs_(parts.encode_costs),
      drafter_(std::move(parts.drafter)),
      sampler_(model_->config.vocab_size),
      picker_(model_->MakePicker()),
      sequences_(parts.max_sequences),
      batch_(model_->MakeBatch()),
      tokens_(model_->limits.max_batch) {
  copies_.reserve(model_->limits.max_batch);
  beam_scores_.reserve(Scheduler::kMaxBeams);
}

void StepRunner::JoinDocument(DocumentId id, std::span<const int32_t> ids) {
  if (id >= documents_.size()) documents_.resize(id + 1);
  documents_[id] = ids;
}

void StepRunner::Join(SequenceId id, const RunnerSequence& sequence) {
  Sequence& s = sequences_[id];
  s.source_ids = sequence.source_ids;
  s.options = sequence.options;
  s.index = sequence.sequence_index;
  drafter_->Join(id, sequence.source_ids, *sequence.options);
  if (s.HasBeams()) {
    s.search.Start(sequence.options, model_->config.tokens.start, model_->config.tokens.ends);
  } else {
    s.history.Start(sequence.options, model_->config.tokens.start);
  }
  picker_.Reserve(*sequence.options);
}

void StepRunner::Leave(SequenceId id) { sequences_[id].source_ids = {}; }

void StepRunner::ProposeDrafts(std::span<const SequenceId> decoding, uint32_t spare_rows,
                               std::vector<uint32_t>* counts) {
  uint32_t rows = 0;
  for (const SequenceId id : decoding) {
    const Sequence& s = sequences_[id];
    rows += s.HasBeams() ? s.search.live() : 1;
  }
  drafter_->Propose(decoding, rows, spare_rows, counts);
}

Status StepRunner::Run(const StepPlan& plan, const PageTables& pages, StepResult* out) {
  for (const EncodeSlice& slice : plan.encodes) Encode(slice, pages);
  out->sequences.clear();
  out->decode_us = 0;
  if (plan.decodes.empty()) return model_->backend->Wait();
  const SteadyClock clock;
  const TimePoint start = clock.Now();
  CopyPages(plan);
  FillBatch(plan, pages);
  AskForTokens(plan);
  model_->decoder.Run(batch_, picker_);
  PRECIS_RETURN_IF_ERROR(model_->backend->Wait());
  PickTokens(plan, out);
  out->decode_us = Microseconds(clock.Now() - start);
  drafter_->ObserveStep(static_cast<uint32_t>(plan.decodes.size()), out->decode_us);
  return OkStatus();
}

void StepRunner::Encode(const EncodeSlice& slice, const PageTables& pages) {
  const std::span<const int32_t> ids = documents_[slice.document];
  const auto tokens = static_cast<uint32_t>(ids.size());
  for (uint32_t i = slice.begin_item; i < slice.end_item; ++i) {
    model_->encoder.Run(EncodeItemAt(model_->encode_shape, tokens, i), ids,
                        pages.DocumentPages(slice.document), model_->workspaces[slice.workspace]);
  }
}

// The rows of a sequence share the table of its cross pages, its drafts that of its self pages:
// each is written once.
void StepRunner::FillBatch(const StepPlan& plan, const PageTables& pages) {
  batch_.Clear();
  for (const DecodeRow& row : plan.decodes) {
    const Sequence& s = sequences_[row.sequence];
    if (row.draft == 0) {
      self_table_ = static_cast<uint32_t>(batch_.self_pages.size());
      const std::span<const PageId> self = pages.SelfPages(row.sequence, row.beam);
      batch_.self_pages.insert(batch_.self_pages.end(), self.begin(), self.end());
    }
    if (row.draft == 0 && row.beam == 0) {
      cross_table_ = static_cast<uint32_t>(batch_.cross_pages.size());
      const std::span<const PageId> cross = pages.CrossPages(row.sequence);
      batch_.cross_pages.insert(batch_.cross_pages.end(), cross.begin(), cross.end());
    }
    batch_.tokens.push_back(TokenOf(s, row));
    batch_.slots.push_back({row.page, row.slot});
    batch_.self_rows.push_back({self_table_, row.position + 1, row.position});
    batch_.cross_rows.push_back(
        {cross_table_, static_cast<uint32_t>(s.source_ids.size()), row.position});
    batch_.noise.push_back({s.options->noise_seed, row.position});
  }
}

int32_t StepRunner::TokenOf(const Sequence& s, const DecodeRow& row) const {
  if (row.draft > 0) return drafter_->token(row.sequence, row.draft);
  return s.HasBeams() ? s.search.ids(row.beam).back() : s.history.last();
}

void StepRunner::CopyPages(const StepPlan& plan) {
  copies_.clear();
  for (const PageCopy& copy : plan.copies) copies_.push_back({copy.from, copy.to, copy.slots});
  if (copies_.empty()) return;
  model_->backend->CopySlots({copies_, model_->memory.pool(), model_->layout.self.layers});
}

// Each row's next token follows its own prefix: the tokens that stand, then the drafts up to the
// row's own.
void StepRunner::AskForTokens(const StepPlan& plan) {
  picker_.Clear();
  for (size_t i = 0; i < plan.decodes.size(); ++i) {
    const DecodeRow& row = plan.decodes[i];
    Sequence& s = sequences_[row.sequence];
    if (s.HasBeams()) {
      picker_.AddRow(*s.options, s.search.ids(row.beam));
      continue;
    }
    if (row.draft > 0) s.history.Push(drafter_->token(row.sequence, row.draft));
    picker_.AddRow(*s.options, s.history.ids());
    const bool last = i + 1 == plan.decodes.size() || plan.decodes[i + 1].draft == 0;
    if (last) s.history.Truncate(row.position - row.draft);
  }
}

void StepRunner::PickTokens(const StepPlan& plan, StepResult* out) {
  picker_.Finish();
  const size_t rows = plan.decodes.size();
  for (size_t begin = 0; begin < rows;) {
    const SequenceId id = plan.decodes[begin].sequence;
    size_t end = begin + 1;
    while (end < rows && plan.decodes[end].sequence == id) ++end;
    out->sequences.push_back(sequences_[id].HasBeams()
                                 ? StepBeams(sequences_[id], begin, end - begin)
                                 : Verify(id, begin, end - begin));
    begin = end;
  }
}

// Takes one token a row as long as the next row was fed that very token. Rows begin, begin+1, ..
// of the step are one sequence's.
SequenceStep StepRunner::Verify(SequenceId id, size_t begin, size_t rows) {
  TokenHistory& history = sequences_[id].history;
  const GenerationOptions& options = history.options();
  SequenceStep step;
  uint32_t drafts = 0;  // that stand
  size_t count = 0;
  while (count < rows) {
    const std::span<const TokenScore> best = picker_.best(begin + count);
    // After a draft it is as it would be without: the tokens before it stand, the next step fails.
    if (!picker_.is_number(begin + count)) break;
    // Where the options leave no token, the sequence ends.
    const int32_t token = best.empty() ? LastResort(model_->config.tokens)
                          : options.Samples()
                              ? sampler_.Sample(picker_.scores(begin + count), options,
                                                sequences_[id].index, history.generated())
                              : best[0].token;
    history.Push(token);
    tokens_[begin + count++] = token;
    const bool ends =
        IsEnd(model_->config.tokens.ends, token) || history.generated() == options.max_new_tokens;
    if (ends || count == rows || token != drafter_->token(id, static_cast<uint32_t>(count))) break;
    ++drafts;
  }
  step.tokens = {tokens_.data() + begin, count};
  step.failed = count == 0;
  drafter_->Observe(id, static_cast<uint32_t>(rows) - 1, drafts, step.tokens);
  return step;
}

SequenceStep StepRunner::StepBeams(Sequence& sequence, size_t begin, size_t rows) {
  BeamSearch& search = sequence.search;
  SequenceStep step;
  bool possible = false;
  beam_scores_.clear();
  for (size_t i = begin; i < begin + rows; ++i) {
    step.failed = step.failed || !picker_.is_number(i);
    possible = possible || !picker_.best(i).empty();
    beam_scores_.push_back(picker_.best(i));
  }
  if (step.failed) return step;
  // Where the options leave no token, all beams end.
  const TokenScore end{0, LastResort(model_->config.tokens)};
  if (!possible) beam_scores_.assign(rows, std::span(&end, 1));
  search.Step(beam_scores_);
  step.finished = search.finished();
  if (!step.finished) step.parents = search.parents();
  return step;
}

std::vector<Hypothesis> StepRunner::Hypotheses(SequenceId id) const {
  const BeamSearch& search = sequences_[id].search;
  std::vector<Hypothesis> out;
  for (uint32_t rank = 0; rank < search.num_hypotheses(); ++rank) {
    const BeamSearch::Hypothesis found = search.hypothesis(rank);
    Hypothesis h;
    h.tokens.assign(found.ids.begin() + 1, found.ids.end());
    h.score = found.score;
    h.reason = FinishReason::kLength;
    if (!h.tokens.empty() && IsEnd(model_->config.tokens.ends, h.tokens.back())) {
      h.tokens.pop_back();
      h.reason = FinishReason::kEndOfSequence;
    }
    out.push_back(std::move(h));
  }
  return out;
}

}  // namespace precis
