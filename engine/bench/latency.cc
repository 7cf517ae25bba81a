// BenchLatency: for each case an engine of its own, timed runs, one recorded run, and the limit of
// what was recorded.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "common/clock.h"
#include "engine/bench.h"
#include "engine/bench/bench_runner.h"
#include "engine/bench/machine_limit.h"
#include "engine/bench/op_recorder.h"
#include "engine/machine.h"
#include "engine/model/attention_variant.h"
#include "engine/model/checkpoint.h"
#include "engine/model/kv_layout.h"
#include "engine/run/describe_model.h"
#include "engine/run/t5_runner.h"
#include "engine/sched/scheduler.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr int32_t kLowestId = 10;  // ids that every tokenizer has
constexpr int32_t kHighestId = 500;
constexpr uint32_t kMostRows = 1024;
// How often we look for events. Nobody waits for one: times are those that the events carry.
constexpr auto kPollInterval = std::chrono::milliseconds(5);

uint64_t CeilDiv(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

std::string CaseName(const BenchCase& c) { return fmt::format("{}x{}", c.batch, c.beams); }

uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t pages = 0;
  uint64_t resident = 0;
  file >> pages >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

Status CheckLatencyOptions(const LatencyOptions& o) {
  const auto range = [](std::string_view flag, uint64_t value, uint64_t most) {
    if (value >= 1 && value <= most) return OkStatus();
    return InvalidArgument(fmt::format("{} is {}, must be 1 to {}", flag, value, most));
  };
  if (o.engine.model_dir.empty()) return InvalidArgument("no model directory was given (--model)");
  PRECIS_RETURN_IF_ERROR(range("--source", o.source_tokens, 1u << 17));
  PRECIS_RETURN_IF_ERROR(range("--new", o.new_tokens, 1u << 16));
  PRECIS_RETURN_IF_ERROR(range("--repeats", o.repeats, 1000));
  if (o.cases.empty()) return InvalidArgument("--cases names no case");
  for (const BenchCase& c : o.cases) {
    if (c.beams > Scheduler::kMaxBeams) {
      return InvalidArgument(fmt::format("--cases: {} has {} beams, the most is {}", CaseName(c),
                                         c.beams, Scheduler::kMaxBeams));
    }
    if (uint64_t{c.batch} * c.beams > kMostRows) {
      return InvalidArgument(fmt::format("--cases: {} has {} rows, the most is {}", CaseName(c),
                                         uint64_t{c.batch} * c.beams, kMostRows));
    }
  }
  return OkStatus();
}

// Pages for exactly the case. INVALID_ARGUMENT where the machine has less memory than that.
StatusOr<uint64_t> PoolBytes(const EngineOptions& options, const BenchCase& c, DType kv) {
  PRECIS_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.model_dir));
  PRECIS_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.model_dir));
  PRECIS_ASSIGN_OR_RETURN(const ResolvedAttention attention, ResolveAttention(config, *checkpoint));
  const LayerGroupings groupings = Groupings(config, attention);
  const KvLayout layout = MakeKvLayout(KvHeadCounts(groupings.self), KvHeadCounts(groupings.cross),
                                       config.head_dim, kv);
  const uint64_t cross = CeilDiv(options.max_source_tokens, layout.cross.slots);
  const auto self = static_cast<uint32_t>(CeilDiv(options.max_new_tokens, layout.self.slots));
  const uint64_t pages = c.batch * (cross + SelfPages::WorstCase(c.beams, self));
  const uint64_t bytes = std::max<uint64_t>(pages, 2) * layout.page_bytes;
  const uint64_t memory = DetectMemoryLimitBytes();
  if (memory != 0 && bytes > memory / 10 * 9) {
    return InvalidArgument(fmt::format("--cases: {} needs {} bytes of pages, this machine has {}",
                                       CaseName(c), bytes, memory));
  }
  return bytes;
}

std::vector<std::vector<int32_t>> RandomSources(const LatencyOptions& options, uint32_t batch,
                                                const ModelInfo& info) {
  const auto most = std::min(kHighestId, static_cast<int32_t>(info.vocab_size) - 1);
  std::mt19937_64 random(options.seed);
  std::uniform_int_distribution<int32_t> id(std::min(kLowestId, most), most);
  std::vector<std::vector<int32_t>> sources(batch);
  for (std::vector<int32_t>& source : sources) {
    source.resize(options.source_tokens);
    for (int32_t& token : source) token = id(random);
    source.back() = info.eos_token_id;
  }
  return sources;
}

struct RunTimes {
  double total_s = 0;
  PhaseTimes phases;
  double encode_s() const { return phases.seconds[static_cast<size_t>(BenchPhase::kEncode)]; }
};

// One case: an engine around the recorder, and its runs.
class CaseBench {
 public:
  CaseBench(const LatencyOptions& options, const BenchCase& c,
            std::function<void(std::string, double)> progress)
      : options_(options), case_(c), progress_(std::move(progress)) {}

  Status Load() {
    EngineOptions o = options_.engine;
    o.max_batch = case_.batch * case_.beams;
    o.max_sequences = case_.batch;
    o.max_source_tokens = options_.source_tokens;
    o.max_new_tokens = options_.new_tokens;
    o.encode_budget = std::numeric_limits<double>::infinity();
    o.cross_cache = false;  // every run encodes its documents
    progress_("loading", 0);
    PRECIS_ASSIGN_OR_RETURN(auto backend, MakeBackend({o.backend, o.isa, o.threads}));
    auto recorder = std::make_unique<OpRecorder>(std::move(backend));
    recorder_ = recorder.get();
    PRECIS_ASSIGN_OR_RETURN(const LoadTypes types, T5Runner::ResolveTypes(o, *recorder));
    PRECIS_ASSIGN_OR_RETURN(o.pool_bytes, PoolBytes(o, case_, types.kv));
    PRECIS_ASSIGN_OR_RETURN(T5Runner::Loaded loaded, T5Runner::LoadOn(std::move(recorder), o));
    result_.of = case_;
    result_.model = loaded.info.name;
    result_.dtype = DTypeName(types.weights);
    result_.kv_type = DTypeName(types.kv);
    result_.isa = recorder_->isa();
    result_.threads = recorder_->num_threads();
    result_.source_tokens = options_.source_tokens;
    result_.new_tokens = options_.new_tokens;
    result_.weight_bytes = loaded.info.weight_bytes;
    result_.pool_bytes = loaded.info.pool_bytes;
    sources_ = RandomSources(options_, case_.batch, loaded.info);
    auto runner = std::make_unique<BenchRunner>(std::move(loaded.runner), recorder_, &phases_);
    PRECIS_ASSIGN_OR_RETURN(engine_, Engine::CreateWithRunner(o, std::move(runner), loaded.info));
    return OkStatus();
  }

  // The timed runs, then the recorded one. The engine is gone afterwards.
  Status Run() {
    const double runs = options_.repeats + 1;
    result_.total_s = HUGE_VAL;
    for (uint32_t i = 0; i < options_.repeats; ++i) {
      PRECIS_ASSIGN_OR_RETURN(
          const RunTimes times,
          RunOnce(fmt::format("run {} of {}", i + 1, options_.repeats), i / runs, 1 / runs));
      if (times.total_s >= result_.total_s) continue;
      result_.total_s = times.total_s;
      result_.encode_s = times.encode_s();
    }
    result_.resident_bytes = ResidentBytes();
    recorder_->RecordInto(&record_);
    PRECIS_ASSIGN_OR_RETURN(recorded_, RunOnce("timing ops", options_.repeats / runs, 1 / runs));
    for (const BenchPhase phase : {BenchPhase::kEncode, BenchPhase::kDecode}) {
      record_.of(phase).passes = recorded_.phases.passes[static_cast<size_t>(phase)];
    }
    engine_.reset();
    return OkStatus();
  }

  Status Judge(MachineFigures* figures) {
    progress_("measuring the machine", 1);
    if (figures->read_rates.empty()) {
      PRECIS_RETURN_IF_ERROR(MeasureMemory(result_.threads, figures));
    }
    const EngineOptions& o = options_.engine;
    PRECIS_RETURN_IF_ERROR(MeasurePeaks(record_, {o.backend, o.isa, o.threads}, figures));
    result_.encode_limit_s = PhaseLimitSeconds(record_.of(BenchPhase::kEncode), *figures);
    result_.limit_s =
        result_.encode_limit_s + PhaseLimitSeconds(record_.of(BenchPhase::kDecode), *figures);
    Profile(*figures);
    ListFigures(*figures);
    return OkStatus();
  }

  const LatencyResult& result() const { return result_; }

 private:
  struct Submitted {
    SequenceHandle handle;
    TimePoint at;
    uint32_t tokens = 0;
    bool finished = false;
  };

  StatusOr<RunTimes> RunOnce(const std::string& what, double from, double share) {
    progress_(what, from);
    phases_ = {};
    GenerationOptions generation;
    generation.max_new_tokens = generation.min_new_tokens = options_.new_tokens;
    generation.num_beams = case_.beams;
    generation.drafting = Drafting::kOff;
    std::vector<Submitted> submitted;
    for (const std::vector<int32_t>& source : sources_) {
      SequenceRequest request;
      request.source_ids = source;
      request.options = generation;
      const TimePoint at = clock_.Now();
      PRECIS_ASSIGN_OR_RETURN(SequenceHandle handle, engine_->Submit(std::move(request)));
      submitted.push_back({std::move(handle), at});
    }
    TimePoint last = submitted.front().at;
    const double all = static_cast<double>(case_.batch) * options_.new_tokens;
    for (size_t left = submitted.size(); left > 0;) {
      std::this_thread::sleep_for(kPollInterval);
      double tokens = 0;
      for (Submitted& s : submitted) {
        PRECIS_ASSIGN_OR_RETURN(const bool ended, TakeEvents(&s, &last));
        if (ended) --left;
        tokens += s.tokens;
      }
      progress_(what, from + share * tokens / all);
    }
    return RunTimes{Seconds(last - submitted.front().at), phases_};
  }

  // True when the sequence has ended now. An error where it has not got exactly its tokens.
  StatusOr<bool> TakeEvents(Submitted* s, TimePoint* last) const {
    if (s->finished) return false;
    while (auto event = s->handle.Poll()) {
      if (event->kind == TokenEvent::Kind::kToken) ++s->tokens;
      if (event->kind == TokenEvent::Kind::kProgress)
        s->tokens = static_cast<uint32_t>(event->token);
      if (event->kind != TokenEvent::Kind::kFinished) continue;
      PRECIS_RETURN_IF_ERROR(event->status);
      if (case_.beams > 1) {
        s->tokens = static_cast<uint32_t>(s->handle.hypotheses().at(0).tokens.size());
      }
      if (s->tokens != options_.new_tokens) {
        return Internal(fmt::format("{} tokens were generated, {} were asked for", s->tokens,
                                    options_.new_tokens));
      }
      s->finished = true;
      *last = std::max(*last, s->at + event->timings.total);
      return true;
    }
    return false;
  }

  void Profile(const MachineFigures& figures) {
    double phases_s = 0;
    for (const BenchPhase phase : {BenchPhase::kEncode, BenchPhase::kDecode}) {
      const std::string name = phase == BenchPhase::kEncode ? "encode" : "decode";
      const double phase_s = recorded_.phases.seconds[static_cast<size_t>(phase)];
      const PhaseRecord& record = record_.of(phase);
      std::map<std::string, OpProfile> ops;
      double ops_s = 0;
      for (const auto& [cost, total] : record.ops) {
        OpProfile& op = ops[OpName(cost)];
        const auto count = static_cast<double>(total.count);
        op.count += total.count;
        op.seconds += total.seconds;
        op.limit_seconds += count * OpLimitSeconds(cost, record.WorkingSetBytes(), figures);
        op.flops += cost.flops * total.count;
        op.bytes += cost.bytes() * total.count;
        ops_s += total.seconds;
      }
      for (auto& [op_name, op] : ops) {
        op.phase = name;
        op.op = op_name;
        result_.profile.push_back(op);
      }
      std::ranges::sort(result_.profile.end() - static_cast<ptrdiff_t>(ops.size()),
                        result_.profile.end(), std::greater<>(), &OpProfile::seconds);
      AddOutside(name, record.passes, phase_s - ops_s);
      phases_s += phase_s;
    }
    AddOutside("engine", 1, recorded_.total_s - phases_s);
  }

  void ListFigures(const MachineFigures& figures) {
    result_.machine.push_back({"fork-join", figures.fork_join_s * 1e6, "us"});
    for (const ReadRate& rate : figures.read_rates) {
      result_.machine.push_back({fmt::format("read {} KiB", rate.working_set_bytes >> 10),
                                 rate.bytes_per_s * 1e-9, "GB/s"});
    }
    for (const auto& [key, flops_per_s] : figures.gemm_peaks) {
      result_.machine.push_back({fmt::format("gemm {} M={}", DTypeName(key.dtype), key.rows),
                                 flops_per_s * 1e-9, "GFLOP/s"});
    }
    for (const BenchPhase phase : {BenchPhase::kEncode, BenchPhase::kDecode}) {
      const std::string name = phase == BenchPhase::kEncode ? "encode" : "decode";
      const auto bytes = static_cast<double>(record_.of(phase).WorkingSetBytes());
      result_.machine.push_back({name + " working set", bytes / (1 << 20), "MiB"});
    }
  }

  void AddOutside(const std::string& phase, uint64_t count, double seconds) {
    OpProfile outside;
    outside.phase = phase;
    outside.op = "outside ops";
    outside.count = count;
    outside.seconds = seconds;
    result_.profile.push_back(std::move(outside));
  }

  const LatencyOptions& options_;
  const BenchCase case_;
  const std::function<void(std::string, double)> progress_;
  const SteadyClock clock_;
  PhaseTimes phases_;               // of the run under way
  OpRecord record_;                 // before the engine: its runner writes here
  OpRecorder* recorder_ = nullptr;  // the engine's
  std::unique_ptr<Engine> engine_;
  std::vector<std::vector<int32_t>> sources_;
  RunTimes recorded_;
  LatencyResult result_;
};

}  // namespace

StatusOr<std::vector<BenchCase>> ParseBenchCases(std::string_view text) {
  std::vector<BenchCase> cases;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const size_t x = part.find('x');
    BenchCase c;
    const auto number = [](std::string_view digits, uint32_t* out) {
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
      return error == std::errc() && end == digits.data() + digits.size() && *out > 0;
    };
    if (x == std::string_view::npos || !number(part.substr(0, x), &c.batch) ||
        !number(part.substr(x + 1), &c.beams)) {
      return InvalidArgument(
          fmt::format("--cases: '{}' is no case; a case is BATCHxBEAMS, as in 32x1", part));
    }
    cases.push_back(c);
    if (comma == std::string_view::npos) return cases;
    text.remove_prefix(comma + 1);
  }
}

Status BenchLatency(const LatencyOptions& options,
                    const std::function<void(const LatencyResult&)>& on_result,
                    const std::function<void(const BenchProgress&)>& on_progress) {
  PRECIS_RETURN_IF_ERROR(CheckLatencyOptions(options));
  LatencyOptions fitted = options;
  if (fitted.engine.threads == 0) fitted.engine.threads = DetectCpus();
  MachineFigures figures;
  for (size_t i = 0; i < options.cases.size(); ++i) {
    const BenchCase& c = options.cases[i];
    CaseBench bench(fitted, c, [&](std::string what, double fraction) {
      if (on_progress) on_progress({i, options.cases.size(), c, std::move(what), fraction});
    });
    PRECIS_RETURN_IF_ERROR(bench.Load());
    PRECIS_RETURN_IF_ERROR(bench.Run());
    PRECIS_RETURN_IF_ERROR(bench.Judge(&figures));
    if (on_result) on_result(bench.result());
  }
  return OkStatus();
}

}  // namespace precis
