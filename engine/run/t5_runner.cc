#include "engine/run/t5_runner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "engine/drafting/draft_planner.h"
#include "engine/drafting/prompt_lookup.h"
#include "engine/sched/encode_work.h"
#include "engine/sched/scheduler.h"

namespace precis {
namespace {

uint32_t PagesFor(size_t tokens, uint32_t slots) {
  return static_cast<uint32_t>((tokens + slots - 1) / slots);
}

// What follows where the options leave no token: an end, or without one the token that generate()
// takes there.
int32_t LastResort(const TokenIds& tokens) { return tokens.ends.empty() ? 0 : tokens.ends.front(); }

EncodeShape ShapeOf(const ModelConfig& config, const EngineOptions& options) {
  return {config.num_encoder_layers, config.num_decoder_layers, options.encode_slice_rows};
}

}  // namespace

T5Runner::T5Runner(const EngineOptions& options, ModelConfig config,
                   std::unique_ptr<Backend> backend, T5Weights weights, KvLayout layout,
                   KvMemory memory, DeviceAllocator& allocator)
    : config_(std::move(config)),
      backend_(std::move(backend)),
      weights_(std::move(weights)),
      layout_(std::move(layout)),
      memory_(std::move(memory)),
      shape_(ShapeOf(config_, options)),
      max_source_tokens_(options.max_source_tokens),
      encoder_(config_, weights_, layout_, memory_.pool(), options.encode_slice_rows, allocator),
      decoder_(config_, weights_, layout_, memory_.pool(), options.max_batch, allocator),
      sampler_(config_.vocab_size),
      picker_(config_.vocab_size, options.max_batch, config_.tokens.ends, *backend_),
      sequences_(options.max_sequences),
      tokens_(options.max_batch) {
  copies_.reserve(options.max_batch);
  beam_scores_.reserve(Scheduler::kMaxBeams);
  for (int i = 0; i < 2; ++i) {
    workspaces_.emplace_back(config_, weights_.types.others, options.max_source_tokens, allocator);
  }
  batch_.Reserve(options.max_batch, PagesFor(options.max_new_tokens, layout_.self.slots),
                 PagesFor(options.max_source_tokens, layout_.cross.slots));
}

void T5Runner::CalibrateAndDraft(const EngineOptions& options) {
  Calibrate();
  drafter_ = std::make_unique<Drafter>(
      options.max_sequences, options.max_batch,
      std::make_unique<PromptLookups>(options.max_sequences),
      std::make_unique<DraftPlanner>(options.max_batch, CalibrateSteps(options.max_batch)));
}

void T5Runner::JoinDocument(DocumentId id, std::span<const int32_t> ids) {
  if (id >= documents_.size()) documents_.resize(id + 1);
  documents_[id] = ids;
}

void T5Runner::Join(SequenceId id, const RunnerSequence& sequence) {
  Sequence& s = sequences_[id];
  s.source_ids = sequence.source_ids;
  s.options = sequence.options;
  s.index = sequence.sequence_index;
  drafter_->Join(id, sequence.source_ids, *sequence.options);
  if (s.HasBeams()) {
    s.search.Start(sequence.options, config_.tokens.start, config_.tokens.ends);
  } else {
    s.history.Start(sequence.options, config_.tokens.start);
  }
  picker_.Reserve(*sequence.options);
}

void T5Runner::Leave(SequenceId id) { sequences_[id].source_ids = {}; }

void T5Runner::ProposeDrafts(std::span<const SequenceId> decoding, uint32_t spare_rows,
                             std::vector<uint32_t>* counts) {
  uint32_t rows = 0;
  for (const SequenceId id : decoding) {
    const Sequence& s = sequences_[id];
    rows += s.HasBeams() ? s.search.live() : 1;
  }
  drafter_->Propose(decoding, rows, spare_rows, counts);
}

Status T5Runner::Run(const StepPlan& plan, const PageTables& pages, StepResult* out) {
  for (const EncodeSlice& slice : plan.encodes) Encode(slice, pages);
  out->sequences.clear();
  out->decode_us = 0;
  if (plan.decodes.empty()) return backend_->Wait();
  const SteadyClock clock;
  const TimePoint start = clock.Now();
  CopyPages(plan);
  FillBatch(plan, pages);
  AskForTokens(plan);
  decoder_.Run(batch_, picker_);
  PRECIS_RETURN_IF_ERROR(backend_->Wait());
  PickTokens(plan, out);
  out->decode_us = Microseconds(clock.Now() - start);
  drafter_->ObserveStep(static_cast<uint32_t>(plan.decodes.size()), out->decode_us);
  return OkStatus();
}

void T5Runner::Encode(const EncodeSlice& slice, const PageTables& pages) {
  const std::span<const int32_t> ids = documents_[slice.document];
  const auto tokens = static_cast<uint32_t>(ids.size());
  for (uint32_t i = slice.begin_item; i < slice.end_item; ++i) {
    encoder_.Run(EncodeItemAt(shape_, tokens, i), ids, pages.DocumentPages(slice.document),
                 workspaces_[slice.workspace]);
  }
}

// The rows of a sequence share the table of its cross pages, its drafts that of its self pages:
// each is written once.
void T5Runner::FillBatch(const StepPlan& plan, const PageTables& pages) {
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

int32_t T5Runner::TokenOf(const Sequence& s, const DecodeRow& row) const {
  if (row.draft > 0) return drafter_->token(row.sequence, row.draft);
  return s.HasBeams() ? s.search.ids(row.beam).back() : s.history.last();
}

void T5Runner::CopyPages(const StepPlan& plan) {
  copies_.clear();
  for (const PageCopy& copy : plan.copies) copies_.push_back({copy.from, copy.to, copy.slots});
  if (!copies_.empty()) backend_->CopySlots({copies_, memory_.pool(), layout_.self.layers});
}

// Each row's next token follows its own prefix: the tokens that stand, then the drafts up to the
// row's own.
void T5Runner::AskForTokens(const StepPlan& plan) {
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

void T5Runner::PickTokens(const StepPlan& plan, StepResult* out) {
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
SequenceStep T5Runner::Verify(SequenceId id, size_t begin, size_t rows) {
  TokenHistory& history = sequences_[id].history;
  const GenerationOptions& options = history.options();
  SequenceStep step;
  uint32_t drafts = 0;  // that stand
  size_t count = 0;
  while (count < rows) {
    const std::span<const TokenScore> best = picker_.best(begin + count);
    // Behind a draft it is as it would be without: the tokens before it stand, the next step fails.
    if (!picker_.is_number(begin + count)) break;
    // Where the options leave no token, the sequence ends.
    const int32_t token = best.empty() ? LastResort(config_.tokens)
                          : options.Samples()
                              ? sampler_.Sample(picker_.scores(begin + count), options,
                                                sequences_[id].index, history.generated())
                              : best[0].token;
    history.Push(token);
    tokens_[begin + count++] = token;
    const bool ends =
        IsEnd(config_.tokens.ends, token) || history.generated() == options.max_new_tokens;
    if (ends || count == rows || token != drafter_->token(id, static_cast<uint32_t>(count))) break;
    ++drafts;
  }
  step.tokens = {tokens_.data() + begin, count};
  step.failed = count == 0;
  drafter_->Observe(id, static_cast<uint32_t>(rows) - 1, drafts, step.tokens);
  return step;
}

SequenceStep T5Runner::StepBeams(Sequence& sequence, size_t begin, size_t rows) {
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
  const TokenScore end{0, LastResort(config_.tokens)};
  if (!possible) beam_scores_.assign(rows, std::span(&end, 1));
  search.Step(beam_scores_);
  step.finished = search.finished();
  if (!step.finished) step.parents = search.parents();
  return step;
}

std::vector<Hypothesis> T5Runner::Hypotheses(SequenceId id) const {
  const BeamSearch& search = sequences_[id].search;
  std::vector<Hypothesis> out;
  for (uint32_t rank = 0; rank < search.num_hypotheses(); ++rank) {
    const BeamSearch::Hypothesis found = search.hypothesis(rank);
    Hypothesis h;
    h.tokens.assign(found.ids.begin() + 1, found.ids.end());
    h.score = found.score;
    h.reason = FinishReason::kLength;
    if (!h.tokens.empty() && IsEnd(config_.tokens.ends, h.tokens.back())) {
      h.tokens.pop_back();
      h.reason = FinishReason::kEndOfSequence;
    }
    out.push_back(std::move(h));
  }
  return out;
}

// --- calibration
// -----------------------------------------------------------------------------------

// Microseconds of the layer-0 items of `stage` for a document of `tokens` tokens.
double T5Runner::TimeItems(uint32_t tokens, EncodeStage stage) {
  std::vector<int32_t> ids(tokens, config_.tokens.start);
  std::vector<PageId> pages(PagesFor(tokens, layout_.cross.slots));
  std::iota(pages.begin(), pages.end(), 0);
  const SteadyClock clock;
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const TimePoint start = clock.Now();
    for (uint32_t i = 0; i < NumEncodeItems(shape_, tokens); ++i) {
      const EncodeItem item = EncodeItemAt(shape_, tokens, i);
      if (item.stage == stage && item.layer == 0) encoder_.Run(item, ids, pages, workspaces_[0]);
    }
    backend_->Wait().IgnoreError();  // Load() asks again: a device's error is told every time
    const double us = Microseconds(clock.Now() - start);
    best = round == 0 ? us : std::min(best, us);
  }
  return best;
}

// Fits the linear cost model at two lengths of document: the scheduler predicts with it.
void T5Runner::Calibrate() {
  const uint64_t most = std::min<uint64_t>({workspaces_[0].x.size() / config_.d_model,
                                            uint64_t{num_pages()} * layout_.cross.slots, 512});
  const auto small = static_cast<uint32_t>(std::max<uint64_t>(1, most / 4));
  const auto large = static_cast<uint32_t>(most);
  costs_.qkv_us_per_row = TimeItems(large, EncodeStage::kQkv) / large;
  const double few = TimeItems(small, EncodeStage::kAttention) / small;
  const double many = TimeItems(large, EncodeStage::kAttention) / large;
  const double per_key = large > small ? std::max(0.0, (many - few) / (large - small)) : 0.0;
  costs_.attention_us_per_row_key = per_key;
  costs_.attention_us_per_row = std::max(many - per_key * large, 0.0);
  costs_.cross_us_per_row = TimeItems(large, EncodeStage::kCross) / large;
}

// --- for verification
// ------------------------------------------------------------------------------

std::vector<float> T5Runner::Encode(std::span<const int32_t> ids) {
  const auto tokens = static_cast<uint32_t>(ids.size());
  std::vector<PageId> pages(PagesFor(tokens, layout_.cross.slots));
  PRECIS_CHECK(pages.size() <= num_pages());
  std::iota(pages.begin(), pages.end(), 0);
  for (uint32_t i = 0; i < NumEncodeItems(shape_, tokens); ++i) {
    encoder_.Run(EncodeItemAt(shape_, tokens, i), ids, pages, workspaces_[0]);
  }
  const Activations encoded = workspaces_[0].encoded.Rows(0, tokens);
  std::vector<float> out(size_t{tokens} * config_.d_model);
  if (encoded.dtype == DType::kF32) {
    backend_->Download(encoded.data, out.size() * sizeof(float), out.data());
    return out;
  }
  std::vector<uint16_t> bits(out.size());
  backend_->Download(encoded.data, bits.size() * sizeof(uint16_t), bits.data());
  std::ranges::transform(bits, out.begin(), BF16ToF32);
  return out;
}

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

std::vector<float> T5Runner::Logits(std::span<const int32_t> ids, std::span<const int32_t> target,
                                    uint64_t noise_seed, std::vector<HeadSplit>* splits) {
  Encode(ids);
  const auto tokens = static_cast<uint32_t>(ids.size());
  const uint32_t cross = PagesFor(tokens, layout_.cross.slots);
  const uint32_t slots = layout_.self.slots;
  PRECIS_CHECK(cross + PagesFor(target.size(), slots) <= num_pages());
  std::vector<float> out;
  WholeRow sink(*backend_, &out);
  for (uint32_t t = 0; t < target.size(); ++t) {
    batch_.Clear();
    batch_.tokens.push_back(target[t]);
    batch_.slots.push_back({static_cast<int32_t>(cross + t / slots), t % slots});
    batch_.self_rows.push_back({0, t + 1, t});
    for (uint32_t p = 0; p <= t / slots; ++p) {
      batch_.self_pages.push_back(static_cast<int32_t>(cross + p));
    }
    batch_.cross_rows.push_back({0, tokens, t});
    batch_.noise.push_back({noise_seed, t});
    for (uint32_t p = 0; p < cross; ++p) batch_.cross_pages.push_back(static_cast<int32_t>(p));
    decoder_.Run(batch_, sink);
    if (splits != nullptr) AddSplits(t, splits);
  }
  return out;
}

// Those of the step of one row that was run last.
void T5Runner::AddSplits(uint32_t position, std::vector<HeadSplit>* out) const {
  for (uint32_t layer = 0; layer < weights_.decoder.size(); ++layer) {
    for (const AttentionKind kind : {AttentionKind::kSelf, AttentionKind::kCross}) {
      const std::vector<uint32_t> begin = decoder_.attention().Dealt(layer, kind, 1);
      if (begin.empty()) return;
      HeadSplit split{layer, kind == AttentionKind::kCross, position, {}};
      for (size_t g = 1; g < begin.size(); ++g) split.heads.push_back(begin[g] - begin[g - 1]);
      out->push_back(std::move(split));
    }
  }
}

}  // namespace precis
