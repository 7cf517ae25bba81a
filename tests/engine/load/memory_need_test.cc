#include "engine/load/memory_need.h"

#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <system_error>

#include "engine/load/load_model.h"
#include "engine/load/memory_errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/own_thread.h"
#include "nlohmann/json.hpp"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kGiB = 1u << 30;

TEST(MemoryNeed, WithinTheLimitIsFine) {
  const MemoryNeed need{.weights = kGiB, .pool = 2 * kGiB, .workspaces = kGiB, .reserved = kGiB};
  EXPECT_TRUE(CheckMemory(need, {.bytes = 4 * kGiB, .whose = "this machine has"}).ok());
  EXPECT_TRUE(CheckMemory(need, {}).ok()) << "nothing is known of the machine";
}

TEST(MemoryNeed, BeyondTheLimitSaysWhatIsNeededAndWhatThereIs) {
  const MemoryNeed need{.weights = kGiB, .pool = 2 * kGiB, .workspaces = kGiB, .reserved = kGiB};
  const Status status = CheckMemory(need, {.bytes = 3 * kGiB, .whose = "this machine has"});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("not enough memory: this machine has 3.0 GiB; 4.0 GiB are needed"),
                    HasSubstr("1.0 GiB for weights"), HasSubstr("2.0 GiB for the page pool"),
                    HasSubstr("--pool-bytes"), Not(HasSubstr("stacks"))));
}

TEST(MemoryNeed, AnAddressSpaceHoldsStacksAndReservesAsWell) {
  const MemoryNeed need{.weights = kGiB, .pool = kGiB, .workspaces = kGiB, .reserved = kGiB};
  const MemoryLimit limit{.bytes = 5 * kGiB,
                          .used = 2 * kGiB,
                          .whose = "the address space of this process (ulimit -v) is",
                          .is_address_space = true};
  EXPECT_THAT(std::string(CheckMemory(need, limit).message()),
              AllOf(HasSubstr("(ulimit -v) is 5.0 GiB, of which 2.0 GiB are in use"),
                    HasSubstr("4.0 GiB more are needed"), HasSubstr("1.0 GiB for stacks")));
}

TEST(MemoryNeed, APoolBeyondAllNumbersDoesNotWrapRound) {
  const MemoryNeed need{.weights = kGiB, .pool = std::numeric_limits<uint64_t>::max() - 1};
  EXPECT_FALSE(CheckMemory(need, {.bytes = 100 * kGiB, .whose = "this machine has"}).ok());
}

// The estimate from headers is what loading comes to.
TEST(MemoryNeed, OfWeightsIsWhatLoadingPacks) {
  for (const char* dir :
       {"models/demo", "tests/golden/gqa_g2", "tests/golden/t5_v11_gated_untied",
        "tests/golden/wmqa", "tests/golden/sharded", "tests/golden/families/untied_embeddings",
        "tests/golden/families/umt5", "tests/golden/families/bart_cnn",
        "tests/golden/families/distilbart", "tests/golden/families/t5_bin_zip"}) {
    SCOPED_TRACE(dir);
    EngineOptions options;
    options.model_dir = dir;
    options.device = "ref";
    options.dtype = options.kv_dtype = "f32";
    options.pool_bytes = 1u << 20;
    options.max_source_tokens = options.max_new_tokens = 64;
    const auto opened = OpenModel(dir, DType::kF32);
    ASSERT_TRUE(opened.ok()) << opened.status();
    const uint64_t estimate = PackedWeightBytes(*opened, {DType::kF32, DType::kF32});
    const auto loaded = LoadModel(options);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const auto bytes = static_cast<double>(loaded->info.weight_bytes);
    EXPECT_NEAR(static_cast<double>(estimate), bytes, bytes / 20);
  }
}

TEST(MemoryNeed, CountsABiasTableForEachLayerThatHasOne) {
  EngineOptions options;
  options.max_source_tokens = 100;
  options.max_new_tokens = 50;
  ModelConfig config;
  config.encoder = {.layers = 3, .num_heads = 4};
  config.decoder = {.layers = 2, .num_heads = 4};
  EXPECT_EQ(PositionBiasBytes(config, options), 0u);
  config.position_bias.emplace();
  EXPECT_EQ(PositionBiasBytes(config, options), 4u * 4 * (200 + 50));
  config.position_bias->per_layer = true;
  EXPECT_EQ(PositionBiasBytes(config, options), 4u * 4 * (3 * 200 + 2 * 50));
}

TEST(MemoryNeed, AConfigThatLiesIsNotTakenForASmallMachine) {
  const auto honest = OpenModel("models/demo", DType::kF32);
  ASSERT_TRUE(honest.ok()) << honest.status();
  EXPECT_TRUE(CheckSizes(*honest).ok()) << CheckSizes(*honest);
  auto lying = OpenModel("models/demo", DType::kF32);
  lying->config.encoder.d_ff = 1u << 24;
  EXPECT_THAT(std::string(CheckSizes(*lying).message()),
              AllOf(HasSubstr("DenseReluDense.wi.weight"),
                    HasSubstr("[1024, 256] in the file, [16777216, 256] expected")));
}

TEST(LoadModel, PositionsThatDoNotFitTheTableAreSaidWithBothNumbers) {
  namespace fs = std::filesystem;
  const testing::TempDir dir;
  fs::copy("tests/golden/families/bart_cnn", dir / "model");
  auto config = nlohmann::json::parse(std::ifstream(dir / "model/config.json"));
  config["max_position_embeddings"] = 512u;
  dir.Write("model/config.json", config.dump());
  EngineOptions options;
  options.model_dir = dir / "model";
  options.device = "ref";
  options.dtype = "f32";
  options.pool_bytes = 1u << 20;
  const auto loaded = LoadModel(options);
  EXPECT_THAT(std::string(loaded.status().message()),
              AllOf(HasSubstr("model.safetensors: model.encoder.embed_positions.weight: shape "
                              "[258, 64] in the file, [514, 64] expected (512 positions of "),
                    HasSubstr("model/config.json, after 2 rows of none)")));
}

TEST(MemoryErrors, WhatIsThrownWhileLoadingBecomesALine) {
  const auto no_memory = WithMemoryErrors([]() -> StatusOr<int> { throw std::bad_alloc(); });
  EXPECT_EQ(no_memory.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(no_memory.status().message()),
              HasSubstr("not enough memory: an allocation failed"));
  const auto no_thread = WithMemoryErrors([]() -> StatusOr<int> {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  });
  EXPECT_THAT(std::string(no_thread.status().message()), HasSubstr("thread could not be started"));
}

TEST(MemoryErrors, OtherErrorsStayAsTheyAre) {
  EXPECT_EQ(WithMemoryErrors([]() -> StatusOr<int> { return 7; }).value(), 7);
  const auto wrong = WithMemoryErrors([]() -> StatusOr<int> { return NotFound("x: is missing"); });
  EXPECT_EQ(std::string(wrong.status().message()), "x: is missing");
  const Status mapped(absl::StatusCode::kResourceExhausted, "cannot have 5 bytes");
  const auto of_ours = WithMemoryErrors([&]() -> StatusOr<int> { return mapped; });
  EXPECT_THAT(std::string(of_ours.status().message()),
              HasSubstr("not enough memory: cannot have 5 bytes"));
}

TEST(MemoryErrors, AThreadOfItsOwnPassesThemOn) {
  const auto load = []() -> StatusOr<int> {
    return OnOwnThread([]() -> StatusOr<int> { throw std::bad_alloc(); });
  };
  EXPECT_EQ(WithMemoryErrors(load).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace precis
