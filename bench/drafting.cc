// What drafting gains and costs, as decode time without drafts over decode time with them, both in
// one process in turns, so that a busy machine slows both:
//
//   drafting_bench make DIR                        writes a checkpoint of T5-base's shape
//   drafting_bench documents MODEL FILE [BATCH]    prompt lookup on documents ({"text": ..} a line)
//   drafting_bench replay MODEL [BATCH..]          recorded summaries, wrong at a known rate
//   drafting_bench rows MODEL                      what rows cost: drafts that are all wrong
//
// BENCH_THREADS sets the number of threads. With one, its CPU time counts and not the clock's, so
// that what else runs on the machine is not measured.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <utility>

#include "bench/random_checkpoint.h"
#include "common/check.h"
#include "engine/drafting/draft_planner.h"
#include "engine/load/calibration.h"
#include "engine/load/load_model.h"
#include "engine/text/tokenizer.h"
#include "kernels/splitmix.h"
#include "nlohmann/json.hpp"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

using Ids = std::vector<int32_t>;

constexpr uint32_t kReplayTokens = 32;
constexpr uint32_t kReplaySource = 128;
constexpr int kRounds = 5;

uint32_t Threads() {
  const char* threads = std::getenv("BENCH_THREADS");
  return threads == nullptr ? 0 : static_cast<uint32_t>(std::strtoul(threads, nullptr, 10));
}

double NowUs() {
  timespec t{};
  clock_gettime(Threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

// Adds up the time of decoding, the search for drafts included.
class TimedRunner final : public StepRunner {
 public:
  TimedRunner(Parts parts, std::atomic<double>* us) : StepRunner(std::move(parts)), us_(us) {}
  void ProposeDrafts(std::span<const SequenceId> decoding, uint32_t spare_rows,
                     std::vector<uint32_t>* counts) override {
    const double start = NowUs();
    StepRunner::ProposeDrafts(decoding, spare_rows, counts);
    Add(NowUs() - start);
  }
  // Encoder work on its own, so that it is not timed.
  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override {
    PRECIS_RETURN_IF_ERROR(StepRunner::Run({plan.encodes, {}, {}}, pages, out));
    const double start = NowUs();
    const Status status = StepRunner::Run({{}, plan.copies, plan.decodes}, pages, out);
    Add(NowUs() - start);
    return status;
  }

 private:
  void Add(double us) { us_->store(us_->load() + us); }

  std::atomic<double>* const us_;
};

struct Replay {
  std::map<int32_t, Ids> recorded;  // by the source's first id
  std::atomic<double> acceptance{1};
};

// Proposes what was recorded, each token wrong by a coin.
class ReplaySource final : public DraftSource {
 public:
  ReplaySource(const Replay& replay, uint32_t max_sequences)
      : replay_(replay), at_(max_sequences) {}
  void Join(SequenceId id, std::span<const int32_t> source_ids,
            const GenerationOptions& /*options*/) override {
    at_[id] = {source_ids[0], 0};
  }
  void Push(SequenceId id, int32_t /*token*/) override { ++at_[id].second; }
  Draft Propose(SequenceId id, std::span<int32_t> out) override {
    const Ids& tokens = replay_.recorded.at(at_[id].first);
    const size_t at = at_[id].second;
    const size_t count = std::min(out.size(), tokens.size() - at);
    for (size_t i = 0; i < count; ++i) {
      const double coin = CounterUniform(7, static_cast<uint64_t>(at_[id].first), at + i);
      out[i] = coin < replay_.acceptance.load() ? tokens[at + i] : tokens[at + i] ^ 1;
    }
    return {static_cast<uint32_t>(count), 1};
  }

 private:
  const Replay& replay_;
  std::vector<std::pair<int32_t, size_t>> at_;  // by SequenceId
};

struct Bench {
  std::unique_ptr<Engine> engine;
  std::atomic<double> us{0};

  // All of `sources` at once; returns what was generated, and its decode time in `us`.
  std::vector<Ids> Run(const std::vector<Ids>& sources, GenerationOptions options,
                       Drafting drafting, double* decode_us) {
    options.drafting = drafting;
    us.store(0);
    std::vector<BlockingRun> runs;
    for (const Ids& source : sources) {
      runs.push_back(BlockingRun::Submit(*engine, source, options).value());
    }
    std::vector<Ids> out;
    for (BlockingRun& run : runs) {
      RunResult result = run.Wait();
      PRECIS_CHECK(result.status.ok());
      out.push_back(std::move(result.tokens));
    }
    *decode_us = us.load();
    return out;
  }
};

struct Ratio {
  double off_us = 0;
  double on_us = 0;
  std::vector<double> pairs;

  void Add(double off, double on) {
    off_us += off;
    on_us += on;
    pairs.push_back(off / on);
  }
  double total() const { return off_us / on_us; }
  double median() {
    std::ranges::sort(pairs);
    return pairs[pairs.size() / 2];
  }
};

// Off and on, the first of them in turns; the same words or the end.
void RunPair(Bench* bench, const std::vector<Ids>& sources, const GenerationOptions& options,
             bool off_first, Ratio* ratio) {
  double us[2];
  std::vector<Ids> out[2];
  for (const bool on : {!off_first, off_first}) {
    const Drafting drafting = on ? Drafting::kPromptLookup : Drafting::kOff;
    out[on] = bench->Run(sources, options, drafting, &us[on]);
  }
  PRECIS_CHECK(out[0] == out[1]);
  ratio->Add(us[0], us[1]);
}

// As many drafts in every step, whether they pay or not.
class FixedPolicy final : public DraftPolicy {
 public:
  explicit FixedPolicy(const std::atomic<uint32_t>& drafts) : drafts_(drafts) {}
  bool CanPay(const PlainStep& /*step*/) const override { return true; }
  void Plan(const PlainStep& /*step*/, std::span<const DraftCandidate> candidates,
            std::vector<uint32_t>* counts) override {
    counts->assign(candidates.size(), 0);
    for (size_t i = 0; i < candidates.size(); ++i) {
      (*counts)[i] = std::min(drafts_.load(), candidates[i].draft.tokens);
    }
  }
  void ObserveDraft(const Draft& /*draft*/, uint32_t /*fed*/, uint32_t /*stood*/,
                    DraftRecord* /*record*/) override {}
  void ObserveStep(const PlainStep& /*step*/, uint32_t /*rows*/, uint32_t /*stood*/,
                   double /*us*/) override {}

 private:
  const std::atomic<uint32_t>& drafts_;
};

// With `replay`, drafts come from it; with `fixed`, as many of them as it says.
std::unique_ptr<Bench> Load(const std::string& model, Replay* replay,
                            const std::atomic<uint32_t>* fixed = nullptr) {
  EngineOptions options;
  options.model_dir = model;
  options.threads = Threads();
  options.max_source_tokens = 1024;
  options.max_new_tokens = 128;
  options.pool_bytes = uint64_t{2} << 30;
  options.encode_budget = 1000;  // documents first, so that batches are full
  auto loaded = LoadModel(options);
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n", std::string(loaded.status().message()).c_str());
    std::exit(1);
  }
  if (replay != nullptr) {
    std::unique_ptr<DraftPolicy> policy;
    if (fixed != nullptr) {
      policy = std::make_unique<FixedPolicy>(*fixed);
    } else {
      policy = std::make_unique<DraftPlanner>(options.max_batch,
                                              Calibration(*loaded->parts.model).TimeSteps());
    }
    loaded->parts.drafter = std::make_unique<Drafter>(
        options.max_sequences, options.max_batch,
        std::make_unique<ReplaySource>(*replay, options.max_sequences), std::move(policy));
  }
  auto bench = std::make_unique<Bench>();
  auto runner = std::make_unique<TimedRunner>(std::move(loaded->parts), &bench->us);
  bench->engine =
      Engine::CreateWithRunner(loaded->options, std::move(runner), loaded->info).value();
  return bench;
}

void Report(const char* what, Ratio* ratio, const EngineStats& before, const EngineStats& after) {
  const auto drafted = static_cast<double>(after.drafted_tokens - before.drafted_tokens);
  const auto accepted = static_cast<double>(after.accepted_tokens - before.accepted_tokens);
  std::printf("| %s | %.3f | %.3f | %.0f | %.2f |\n", what, ratio->total(), ratio->median(),
              drafted, drafted > 0 ? accepted / drafted : 0.0);
  std::fflush(stdout);
}

constexpr const char* kHead =
    "| | off / on | median of pairs | drafted | of those right |\n|---|---|---|---|---|\n";

int Documents(const std::string& model, const std::string& file, size_t batch) {
  auto bench = Load(model, nullptr);
  const auto tokenizer = Tokenizer::Load(model, bench->engine->info().vocab_size).value();
  std::vector<Ids> sources;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::string text = "summarize: " + nlohmann::json::parse(line)["text"].get<std::string>();
    sources.push_back(tokenizer->Encode(text).value());
    sources.back().push_back(1);
  }
  GenerationOptions options;
  options.max_new_tokens = 48;
  Ratio ratio;
  const EngineStats before = bench->engine->stats();
  for (size_t i = 0; i < sources.size(); i += batch) {
    const size_t end = std::min(sources.size(), i + batch);
    const std::vector<Ids> part(sources.begin() + static_cast<ptrdiff_t>(i),
                                sources.begin() + static_cast<ptrdiff_t>(end));
    RunPair(bench.get(), part, options, i / batch % 2 == 0, &ratio);
  }
  std::printf("%s", kHead);
  Report("prompt lookup", &ratio, before, bench->engine->stats());
  return 0;
}

std::vector<Ids> ReplaySources(size_t batch) {
  std::vector<Ids> sources(batch);
  for (size_t i = 0; i < batch; ++i) {
    for (uint32_t j = 0; j + 1 < kReplaySource; ++j) {
      sources[i].push_back(static_cast<int32_t>(100 + i + 37 * j % 7000));
    }
    sources[i].push_back(1);
  }
  return sources;
}

GenerationOptions ReplayOptions() {
  GenerationOptions options;
  options.max_new_tokens = options.min_new_tokens = kReplayTokens;
  return options;
}

int RunRows(const std::string& model) {
  Replay replay;
  replay.acceptance.store(0);
  std::atomic<uint32_t> drafts{0};
  auto bench = Load(model, &replay, &drafts);
  const std::vector<Ids> sources = ReplaySources(1);
  double us = 0;
  replay.recorded[sources[0][0]] = bench->Run(sources, ReplayOptions(), Drafting::kOff, &us)[0];
  std::printf("| rows | time of one row / time |\n|---|---|\n");
  for (const uint32_t rows : {2u, 4u, 5u, 8u, 12u, 16u}) {
    drafts.store(rows - 1);
    Ratio ratio;
    for (int round = 0; round < kRounds; ++round) {
      RunPair(bench.get(), sources, ReplayOptions(), round % 2 == 0, &ratio);
    }
    std::printf("| %u | %.3f |\n", rows, ratio.median());
    std::fflush(stdout);
  }
  return 0;
}

int RunReplay(const std::string& model, const std::vector<size_t>& batches) {
  Replay replay;
  auto bench = Load(model, &replay);
  const GenerationOptions options = ReplayOptions();
  std::printf("%s", kHead);
  for (const size_t batch : batches) {
    const std::vector<Ids> sources = ReplaySources(batch);
    double us = 0;
    const std::vector<Ids> recorded = bench->Run(sources, options, Drafting::kOff, &us);
    for (size_t i = 0; i < batch; ++i) replay.recorded[sources[i][0]] = recorded[i];
    for (const double acceptance : {0.0, 0.3, 0.6, 0.8}) {
      replay.acceptance.store(acceptance);
      Ratio ratio;
      const EngineStats before = bench->engine->stats();
      for (int round = 0; round < kRounds; ++round) {
        RunPair(bench.get(), sources, options, round % 2 == 0, &ratio);
      }
      char what[64];
      std::snprintf(what, sizeof(what), "batch %zu, acceptance %.1f", batch, acceptance);
      Report(what, &ratio, before, bench->engine->stats());
    }
  }
  return 0;
}

int Main(std::span<char*> args) {
  const std::string command = args.size() > 2 ? args[1] : "";
  if (command == "rows") return RunRows(args[2]);
  if (command == "make") {
    const Status status = WriteRandomCheckpoint(args[2], RandomShape{});
    if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return status.ok() ? 0 : 1;
  }
  if (command == "documents" && args.size() > 3) {
    return Documents(args[2], args[3], args.size() > 4 ? std::strtoul(args[4], nullptr, 10) : 1);
  }
  if (command == "replay") {
    std::vector<size_t> batches;
    for (size_t i = 3; i < args.size(); ++i) {
      batches.push_back(std::strtoul(args[i], nullptr, 10));
    }
    if (batches.empty()) batches = {1, 2, 4, 8, 16, 32};
    return RunReplay(args[2], batches);
  }
  std::fprintf(stderr,
               "usage: drafting_bench make DIR | documents MODEL FILE [BATCH] | rows DIR | "
               "replay MODEL [BATCH..]\n");
  return 2;
}

}  // namespace
}  // namespace precis

int main(int argc, char** argv) { return precis::Main({argv, static_cast<size_t>(argc)}); }
