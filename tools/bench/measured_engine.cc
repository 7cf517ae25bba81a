#include "tools/bench/measured_engine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>
#include <thread>
#include <utility>

#include "common/math.h"
#include "engine/api/machine.h"
#include "engine/load/memory_need.h"
#include "engine/load/open_device.h"
#include "engine/load/open_model.h"
#include "engine/sched/self_pages.h"
#include "fmt/format.h"
#include "kernels/own_thread.h"

namespace precis {
namespace {

// How often we look for events. No one waits for one: times are those that the events carry.
constexpr auto kPollInterval = std::chrono::milliseconds(5);

// Pages for exactly `fit`.
StatusOr<uint64_t> PoolBytes(const std::string& dir, const BenchFit& fit, DType kv,
                             const Backend& backend, const std::string& name) {
  PRECIS_ASSIGN_OR_RETURN(const OpenedModel model, OpenModel(dir, kv));
  const KvLayout& layout = model.layout;
  std::vector<uint64_t> item_pages;
  for (const WorkItem& item : fit.items) {
    const uint64_t cross = CeilDiv(item.source_tokens, layout.cross.slots);
    const auto self = static_cast<uint32_t>(CeilDiv(item.new_tokens, layout.self.slots));
    item_pages.push_back(cross + SelfPages::WorstCase(fit.beams, self));
  }
  std::ranges::sort(item_pages, std::greater<>());
  item_pages.resize(std::min<size_t>(item_pages.size(), fit.batch));
  const uint64_t pages = std::accumulate(item_pages.begin(), item_pages.end(), uint64_t{0});
  const uint64_t bytes = std::max<uint64_t>(pages, 2) * layout.page_bytes;
  const uint64_t memory = backend.FreeDeviceBytes().value_or(DetectMemoryLimitBytes());
  if (memory != 0 && bytes > memory / 10 * 9) {
    return InvalidArgument(
        fmt::format("{} needs {} bytes of pages, this device has {}", name, bytes, memory));
  }
  return bytes;
}

}  // namespace

struct MeasuredEngine::Submitted {
  SequenceHandle handle;
  TimePoint at;
  uint32_t wanted = 0;
  uint32_t tokens = 0;
  bool finished = false;
};

uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t pages = 0;
  uint64_t resident = 0;
  file >> pages >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

std::vector<LoadRequest> RandomRequests(uint64_t seed, const WorkTrace& items,
                                        const ModelInfo& info) {
  std::vector<LoadRequest> requests;
  requests.reserve(items.size());
  for (const WorkItem& item : items) {
    requests.push_back(
        {RandomSource(seed++, item.source_tokens, info.vocab_size), item.new_tokens});
  }
  return requests;
}

StatusOr<FittedModel> LoadFitted(const EngineOptions& base, const BenchFit& fit,
                                 const std::string& name) {
  FittedModel out;
  EngineOptions& o = out.options = base;
  o.max_batch = fit.batch * fit.beams;
  o.max_sequences = fit.unfinished;
  o.max_source_tokens = std::ranges::max(fit.items, {}, &WorkItem::source_tokens).source_tokens;
  o.max_new_tokens = std::ranges::max(fit.items, {}, &WorkItem::new_tokens).new_tokens;
  o.encode_budget = fit.encode_budget;
  o.cross_cache = false;  // every run encodes its documents
  if (o.threads == 0) o.threads = DetectCpus();
  PRECIS_ASSIGN_OR_RETURN(
      auto backend, OpenDevice({o.device, o.isa, o.threads, o.cuda_graphs}, o.dtype, MakeBackend));
  o.device = backend->name();
  out.backend = backend.get();
  out.recorder = std::make_unique<OpRecorder>();
  backend->set_observer(out.recorder.get());
  PRECIS_ASSIGN_OR_RETURN(out.types, ResolveTypes(o.dtype, o.kv_dtype, NativeDType(*backend)));
  PRECIS_ASSIGN_OR_RETURN(o.pool_bytes, PoolBytes(o.model_dir, fit, out.types.kv, *backend, name));
  PRECIS_ASSIGN_OR_RETURN(out.loaded,
                          OnOwnThread([&] { return LoadModelOn(std::move(backend), o); }));
  ReturnFreedMemory();  // as Engine::Create()
  return out;
}

StatusOr<std::unique_ptr<MeasuredEngine>> MeasuredEngine::Load(const EngineOptions& base,
                                                               const BenchFit& fit,
                                                               const std::string& name) {
  std::unique_ptr<MeasuredEngine> out(new MeasuredEngine());
  const TimePoint start = out->clock_.Now();
  PRECIS_ASSIGN_OR_RETURN(FittedModel fitted, LoadFitted(base, fit, name));
  out->beams_ = fit.beams;
  out->recorder_ = std::move(fitted.recorder);
  out->backend_ = fitted.backend;
  out->types_ = fitted.types;
  const Model& model = *fitted.loaded.parts.model;
  const ModelWeights& weights = model.weights;
  out->workspace_bytes_ = WorkspaceBytes(model.config, fitted.loaded.options,
                                         fitted.backend->activation_dtype(weights.types.others),
                                         weights.lm_head.front().w->n());
  auto runner = std::make_unique<BenchRunner>(std::move(fitted.loaded.parts), out->recorder_.get(),
                                              &out->phases_);
  PRECIS_ASSIGN_OR_RETURN(out->engine_,
                          Engine::CreateWithRunner(fitted.loaded.options, std::move(runner),
                                                   std::move(fitted.loaded.info)));
  out->load_s_ = Seconds(out->clock_.Now() - start);
  return out;
}

StatusOr<RunTimes> MeasuredEngine::Run(const std::vector<LoadRequest>& items,
                                       const std::function<void(uint64_t)>& on_tokens) {
  phases_ = {};
  std::vector<Submitted> submitted;
  for (const LoadRequest& item : items) {
    SequenceRequest request;
    request.source_ids = item.source_ids;
    request.options.max_new_tokens = request.options.min_new_tokens = item.new_tokens;
    request.options.num_beams = beams_;
    request.options.drafting = Drafting::kOff;
    const TimePoint at = clock_.Now();
    PRECIS_ASSIGN_OR_RETURN(SequenceHandle handle, engine_->Submit(std::move(request)));
    submitted.push_back({std::move(handle), at, item.new_tokens});
  }
  const TimePoint first = submitted.front().at;
  TimePoint last = first;
  for (size_t left = submitted.size(); left > 0;) {
    std::this_thread::sleep_for(kPollInterval);
    uint64_t tokens = 0;
    for (Submitted& s : submitted) {
      PRECIS_ASSIGN_OR_RETURN(const bool ended, TakeEvents(&s, &last));
      if (ended) --left;
      tokens += s.tokens;
    }
    on_tokens(tokens);
  }
  return RunTimes{Seconds(last - first), phases_};
}

void MeasuredEngine::Describe(MeasuredRun* run) const {
  run->model = info().name;
  run->dtype = DTypeName(types_.weights.projections);
  run->kv_type = DTypeName(types_.kv);
  run->device = backend().name();
  run->isa = backend().isa();
  run->threads = backend().num_threads();
  run->weight_bytes = info().weight_bytes;
  run->pool_bytes = info().pool_bytes;
  run->load_s = load_s_;
}

StatusOr<RunTimes> MeasuredEngine::RunRecorded(const std::vector<LoadRequest>& items,
                                               const std::function<void(uint64_t)>& on_tokens,
                                               RunRecord* record) {
  recorder_->RecordInto(record);
  StatusOr<RunTimes> times = Run(items, on_tokens);
  // After an error some sequences may still run: they end before their record does.
  if (!times.ok()) engine_->Stop();
  recorder_->RecordInto(nullptr);
  if (!times.ok()) return times;
  for (const BenchPhase phase : {BenchPhase::kEncode, BenchPhase::kDecode}) {
    record->of(phase).passes = times->phases.passes[static_cast<size_t>(phase)];
  }
  return times;
}

// True when the sequence has ended now.
StatusOr<bool> MeasuredEngine::TakeEvents(Submitted* s, TimePoint* last) const {
  if (s->finished) return false;
  while (auto event = s->handle.Poll()) {
    if (event->kind == TokenEvent::Kind::kToken) ++s->tokens;
    if (event->kind == TokenEvent::Kind::kProgress) s->tokens = static_cast<uint32_t>(event->token);
    if (event->kind != TokenEvent::Kind::kFinished) continue;
    PRECIS_RETURN_IF_ERROR(event->status);
    if (beams_ > 1) s->tokens = static_cast<uint32_t>(s->handle.hypotheses().at(0).tokens.size());
    if (s->tokens != s->wanted) {
      return Internal(
          fmt::format("{} tokens were generated, {} were asked for", s->tokens, s->wanted));
    }
    s->finished = true;
    *last = std::max(*last, s->at + event->timings.total);
    return true;
  }
  return false;
}

}  // namespace precis
