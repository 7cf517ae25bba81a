// The engine on CudaBackend on the emulated device: what a batch does not change, and how a device
// that fails ends what was asked of it.
#include <algorithm>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "engine/load/load_model.h"
#include "engine/load/open_device.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "spdlog/sinks/ostream_sink.h"
#include "spdlog/spdlog.h"
#include "tests/kernels/cuda/emulated_gemm.h"
#include "tests/simt/runtime.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

using testing::HasSubstr;

EngineOptions SmallOptions(const std::string& kv_dtype, uint32_t max_batch,
                           uint32_t max_source_tokens) {
  EngineOptions options;
  options.model_dir = "tests/golden/wgqa_g2";
  options.dtype = kv_dtype == "f32" ? "f32" : "bf16";
  options.kv_dtype = kv_dtype;
  options.max_batch = max_batch;
  options.max_sequences = 8;
  options.max_source_tokens = max_source_tokens;
  options.max_new_tokens = 20;  // two pages
  options.pool_bytes = 8u << 20;
  options.encode_slice_rows = 64;
  return options;
}

StatusOr<LoadedModel> Load(const EngineOptions& options, bool graphs = true) {
  return LoadModelOn(
      cuda::MakeCudaBackendWith(EmulatedGemm(), {.name = "cuda", .cuda_graphs = graphs}).value(),
      options);
}

class CudaEngine : public ::testing::Test {
 protected:
  void TearDown() override { simt::ResetRuntime(); }
};

std::vector<int32_t> Document(uint32_t tokens, uint32_t seed) {
  std::vector<int32_t> ids(tokens);
  for (uint32_t i = 0; i < tokens; ++i) ids[i] = static_cast<int32_t>(3 + (i * i + seed * 7) % 40);
  ids.back() = 1;
  return ids;
}

struct Asked {
  uint32_t tokens;
  GenerationOptions options;
};

// Greedy, beams and samples; over a few keys and over more than one chunk.
std::vector<Asked> Requests() {
  std::vector<Asked> out(5);
  out[0].tokens = 9;
  out[1].tokens = 530;
  out[2].tokens = 70;
  out[2].options.num_beams = 3;
  out[3].tokens = 17;
  out[3].options.temperature = 0.8f;
  out[3].options.seed = 5;
  out[4].tokens = 33;
  out[4].options.no_repeat_ngram_size = 2;
  for (Asked& a : out) a.options.min_new_tokens = a.options.max_new_tokens = 20;
  return out;
}

void ExpectSame(const RunResult& a, const RunResult& b, size_t i) {
  EXPECT_TRUE(a.status.ok() && b.status.ok()) << a.status << b.status;
  EXPECT_EQ(a.tokens, b.tokens) << i;
  ASSERT_EQ(a.hypotheses.size(), b.hypotheses.size()) << i;
  for (size_t h = 0; h < a.hypotheses.size(); ++h) {
    EXPECT_EQ(a.hypotheses[h].tokens, b.hypotheses[h].tokens) << i;
    EXPECT_EQ(a.hypotheses[h].score, b.hypotheses[h].score) << i;  // to the last bit
  }
}

TEST_F(CudaEngine, TheLogNamesTheDeviceThatAutoHasFound) {
  std::ostringstream lines;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_st>(lines)));
  const auto backend = OpenDevice({.name = "auto"}, "auto", MakeBackend);
  spdlog::set_default_logger(before);
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), "cuda");
  EXPECT_THAT(lines.str(),
              HasSubstr("device: Emulated, compute capability 9.0, 0.5 GiB, driver for "
                        "CUDA 13.0, runtime 13.0; one stream, CUDA graphs; GEMM emulated"));
}

TEST_F(CudaEngine, ARequestAloneIsAsAmongOthers) {
  const EngineOptions options = SmallOptions("int8", 8, 600);  // two chunks of keys
  auto loaded = Load(options);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto engine =
      Engine::CreateWithRunner(options, std::make_unique<StepRunner>(std::move(loaded->parts)),
                               loaded->info)
          .value();
  const std::vector<Asked> requests = Requests();
  const auto submit = [&](uint32_t i) {
    return BlockingRun::Submit(*engine, Document(requests[i].tokens, i), requests[i].options)
        .value();
  };
  std::vector<RunResult> alone;
  for (uint32_t i = 0; i < requests.size(); ++i) alone.push_back(submit(i).Wait());
  std::vector<BlockingRun> runs;
  for (uint32_t i = 0; i < requests.size(); ++i) runs.push_back(submit(i));
  for (uint32_t i = 0; i < requests.size(); ++i) {
    ExpectSame(alone[i], runs[i].Wait(), i);
    EXPECT_EQ(alone[i].tokens.empty(), requests[i].options.num_beams > 1);
  }
  engine->Stop();
}

// All of Requests() at once.
std::vector<RunResult> ServeRequests(bool graphs) {
  const EngineOptions options = SmallOptions("int8", 8, 600);
  auto loaded = Load(options, graphs);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  const auto engine =
      Engine::CreateWithRunner(options, std::make_unique<StepRunner>(std::move(loaded->parts)),
                               loaded->info)
          .value();
  std::vector<BlockingRun> runs;
  const std::vector<Asked> requests = Requests();
  for (uint32_t i = 0; i < requests.size(); ++i) {
    runs.push_back(
        BlockingRun::Submit(*engine, Document(requests[i].tokens, i), requests[i].options).value());
  }
  std::vector<RunResult> results;
  for (BlockingRun& run : runs) results.push_back(run.Wait());
  engine->Stop();
  return results;
}

TEST_F(CudaEngine, GraphsChangeNoBitWhetherTheyCanBeMadeOrNot) {
  const simt::RuntimeCounts at_first = simt::CountsOfRuntime();
  const std::vector<RunResult> plain = ServeRequests(false);
  EXPECT_EQ(simt::CountsOfRuntime().captures, at_first.captures);
  const std::vector<RunResult> graphs = ServeRequests(true);
  const simt::RuntimeCounts with_graphs = simt::CountsOfRuntime();
  EXPECT_GT(with_graphs.graph_launches, at_first.graph_launches);
  EXPECT_EQ(with_graphs.executables, 0u);
  simt::RuntimeFaults().instantiations = 0;
  const std::vector<RunResult> failed = ServeRequests(true);
  EXPECT_GT(simt::CountsOfRuntime().captures, with_graphs.captures);
  EXPECT_EQ(simt::CountsOfRuntime().graph_launches, with_graphs.graph_launches);
  for (size_t i = 0; i < plain.size(); ++i) {
    ExpectSame(plain[i], graphs[i], i);
    ExpectSame(plain[i], failed[i], i);
  }
}

TEST_F(CudaEngine, ADeviceThatFailsWhileLoadingIsAnErrorByName) {
  for (const int64_t piece : {0, 30, 60, 100, 200}) {
    simt::RuntimeFaults().work_until_error = piece;
    const auto loaded = Load(SmallOptions("f32", 3, 64));
    ASSERT_FALSE(loaded.ok()) << piece;
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("cudaErrorIllegalAddress"));
    simt::ResetRuntime();
  }
}

// `fault` comes after loading.
void ServeUntilTheDeviceFails(const std::function<void(simt::Faults&)>& fault) {
  const EngineOptions options = SmallOptions("f32", 3, 64);
  auto loaded = Load(options);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  fault(simt::RuntimeFaults());
  const auto engine =
      Engine::CreateWithRunner(options, std::make_unique<StepRunner>(std::move(loaded->parts)),
                               loaded->info)
          .value();
  GenerationOptions generation;
  generation.min_new_tokens = generation.max_new_tokens = 20;
  std::vector<BlockingRun> runs;
  for (uint32_t i = 0; i < 3; ++i) {
    auto run = BlockingRun::Submit(*engine, Document(20 + i, i), generation);
    if (run.ok()) runs.push_back(*std::move(run));  // else it has failed already
  }
  ASSERT_FALSE(runs.empty());
  for (BlockingRun& run : runs) {
    const RunResult result = run.Wait();
    EXPECT_EQ(result.reason, FinishReason::kError);
    EXPECT_EQ(ReasonOf(result.status), Reason::kDeviceFailed) << result.status;
  }
  const auto refused = BlockingRun::Submit(*engine, Document(5, 1), generation);
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kDeviceFailed);
  engine->Stop();
}

TEST_F(CudaEngine, ADeviceThatFailsEndsEveryRequestAndTakesNoMore) {
  // The first piece, within the encoder, within decoding.
  for (const int64_t piece : {0, 37, 400}) {
    SCOPED_TRACE(piece);
    ServeUntilTheDeviceFails([=](simt::Faults& faults) { faults.work_until_error = piece; });
    simt::ResetRuntime();
  }
}

TEST_F(CudaEngine, AGraphThatCannotBeLaunchedEndsEveryRequestAndTakesNoMore) {
  for (const int64_t launches : {0, 1}) {
    SCOPED_TRACE(launches);
    ServeUntilTheDeviceFails([=](simt::Faults& faults) { faults.graph_launches = launches; });
    simt::ResetRuntime();
  }
}

}  // namespace
}  // namespace precis
