// What encoder work does to running streams: inter-token latencies while nothing arrives, and, in
// turns with that, while long documents arrive one behind another, with and without slicing. Prints
// JSON lines; the plot of docs/scheduling.md is made of them by bench/plot_encode_slicing.py.
//
//   encode_slicing_bench DIR [SECONDS [WAY]]   DIR: a checkpoint, or an empty folder to write one
//   to
//
// Streams: 8 greedy ones. Documents: 2,000 tokens, one new token each, two outstanding.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "bench/random_checkpoint.h"
#include "common/check.h"
#include "common/mutex.h"
#include "nlohmann/json.hpp"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

constexpr uint32_t kStreams = 8;
constexpr uint32_t kDocumentTokens = 2000;
constexpr uint32_t kStreamTokens = 1024;
constexpr int kRounds = 5;

class Latencies final : public EngineObserver {
 public:
  void OnStep(const StepObservation& step) override {
    MutexLock lock(mutex_);
    decoded_ += step.decode_rows;
  }
  void OnInterTokenSeconds(double seconds) override {
    MutexLock lock(mutex_);
    seconds_.push_back(seconds);
  }
  std::vector<double> Take(uint64_t* decoded) {
    MutexLock lock(mutex_);
    *decoded = std::exchange(decoded_, 0);
    return std::exchange(seconds_, {});
  }

 private:
  Mutex mutex_;
  std::vector<double> seconds_ PRECIS_GUARDED_BY(mutex_);
  uint64_t decoded_ PRECIS_GUARDED_BY(mutex_) = 0;
};

std::vector<int32_t> Document(uint32_t tokens, int32_t salt) {
  std::vector<int32_t> ids(tokens);
  for (uint32_t i = 0; i < tokens; ++i) {
    ids[i] = 10 + (salt * 131 + static_cast<int32_t>(i) * 7) % 1000;
  }
  ids.back() = 1;
  return ids;
}

GenerationOptions NewTokens(uint32_t n) {
  GenerationOptions options;
  options.max_new_tokens = options.min_new_tokens = n;
  options.drafting = Drafting::kOff;
  return options;
}

struct Way {
  const char* name;
  double budget;
  uint32_t slice_rows;
};

// Latencies and tokens of one half of all rounds: those in which nothing arrives, or the others.
struct Half {
  std::vector<double> inter_token_seconds;
  uint64_t decoded_tokens = 0;
  uint64_t encoded_tokens = 0;
  double seconds = 0;
};

void RunHalf(Engine& engine, Latencies& latencies, bool documents, double seconds, int32_t* salt,
             Half* half) {
  const SteadyClock clock;
  const TimePoint start = clock.Now();
  const auto elapsed = [&] { return Seconds(clock.Now() - start); };
  uint64_t decoded = 0;
  latencies.Take(&decoded);
  const uint64_t encoded = engine.stats().encoded_tokens;
  std::vector<BlockingRun> outstanding;
  while (elapsed() < seconds) {
    if (!documents) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    outstanding.push_back(
        BlockingRun::Submit(engine, Document(kDocumentTokens, ++*salt), NewTokens(1)).value());
    if (outstanding.size() == 2) {
      outstanding.front().Wait();
      outstanding.erase(outstanding.begin());
    }
  }
  for (BlockingRun& run : outstanding) run.Wait();
  half->seconds += elapsed();
  const std::vector<double> taken = latencies.Take(&decoded);
  half->inter_token_seconds.insert(half->inter_token_seconds.end(), taken.begin(), taken.end());
  half->decoded_tokens += decoded;
  half->encoded_tokens += engine.stats().encoded_tokens - encoded;
}

nlohmann::json ToJson(const Half& half) {
  return {{"inter_token_seconds", half.inter_token_seconds},
          {"decoded_tokens", half.decoded_tokens},
          {"encoded_tokens", half.encoded_tokens},
          {"seconds", half.seconds}};
}

// Quiet and busy in turns, so that what else the machine does is in both.
void Measure(const std::string& dir, const Way& way, double seconds) {
  EngineOptions options;
  options.model_dir = dir;
  options.pool_bytes = 2ull << 30;
  options.max_source_tokens = 2048;
  options.max_new_tokens = kStreamTokens;
  options.max_batch = kStreams + 4;
  options.max_sequences = 64;
  options.encode_budget = way.budget;
  options.encode_slice_rows = way.slice_rows;
  options.cross_cache = false;
  auto engine = Engine::Create(options).value();
  Latencies latencies;
  engine->SetObserver(&latencies);
  std::vector<BlockingRun> streams;
  for (uint32_t i = 0; i < kStreams; ++i) {
    const auto salt = static_cast<int32_t>(i);
    streams.push_back(
        BlockingRun::Submit(*engine, Document(128, salt), NewTokens(kStreamTokens)).value());
  }
  while (engine->stats().decoding < kStreams) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  int32_t salt = 100;
  Half settling, quiet, busy;
  RunHalf(*engine, latencies, true, seconds / 20, &salt, &settling);
  for (int round = 0; round < kRounds; ++round) {
    RunHalf(*engine, latencies, false, seconds / kRounds / 2, &salt, &quiet);
    RunHalf(*engine, latencies, true, seconds / kRounds / 2, &salt, &busy);
  }
  const nlohmann::json line = {{"way", way.name},
                               {"budget", way.budget},
                               {"slice_rows", way.slice_rows},
                               {"quiet", ToJson(quiet)},
                               {"busy", ToJson(busy)}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
  engine->Stop();
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s DIR [SECONDS [WAY]]\n", argv[0]);
    return 2;
  }
  const std::string dir = argv[1];
  const double seconds = argc > 2 ? std::atof(argv[2]) : 10;
  if (!std::filesystem::exists(dir + "/config.json")) {
    // T5-small.
    RandomShape shape;
    shape.d_model = 512;
    shape.num_heads = shape.num_kv_heads = 8;
    shape.d_ff = 2048;
    shape.num_layers = 6;
    PRECIS_CHECK(WriteRandomCheckpoint(dir, shape).ok());
  }
  const Way ways[] = {
      {"budget 1", 1.0, 128},
      {"budget 3", 3.0, 128},
      {"not sliced", 1000, 1u << 13},
  };
  for (const Way& way : ways) {
    if (argc <= 3 || std::string(argv[3]) == way.name) Measure(dir, way, seconds);
  }
  return 0;
}

}  // namespace
}  // namespace precis

int main(int argc, char** argv) { return precis::Main(argc, argv); }
