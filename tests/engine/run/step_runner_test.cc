// What serving costs: folded WGQA is GQA op for op and byte for byte, and a decode step neither
// allocates nor makes primitives.
#include "engine/run/step_runner.h"

#include <filesystem>
#include <fstream>
#include <numeric>

#include "engine/load/load_model.h"
#include "engine/load/model_probe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/drafting/drafts_testing.h"
#include "tests/engine/run/guarded_backend.h"
#include "tests/engine/run/recording_observer.h"
#include "tests/support/allocation_counter.h"

namespace precis {
namespace {

EngineOptions OptionsFor(const std::string& dir, const std::string& backend) {
  EngineOptions options;
  options.model_dir = dir;
  options.device = backend;
  options.dtype = "f32";
  options.threads = 2;
  options.max_batch = 8;
  options.max_source_tokens = 256;
  options.max_new_tokens = 64;
  options.pool_bytes = 16u << 20;
  return options;
}

// Page tables by hand: sequence i has its own run of pages.
class FixedTables final : public PageTables {
 public:
  FixedTables(uint32_t sequences, uint32_t self, uint32_t cross)
      : self_(self), cross_(cross), ids_(sequences * (self + cross)) {
    std::iota(ids_.begin(), ids_.end(), 0);
  }
  std::span<const PageId> SelfPages(SequenceId id, uint32_t /*beam*/) const override {
    return std::span(ids_).subspan(id * (self_ + cross_), self_);
  }
  std::span<const PageId> CrossPages(SequenceId id) const override {
    return std::span(ids_).subspan(id * (self_ + cross_) + self_, cross_);
  }
  // Each sequence has its own document, of the same id.
  std::span<const PageId> DocumentPages(DocumentId id) const override { return CrossPages(id); }

 private:
  const uint32_t self_;
  const uint32_t cross_;
  std::vector<PageId> ids_;
};

// `sequences` documents encoded, then ready to decode step by step.
class StepDriver {
 public:
  StepDriver(StepRunner& runner, uint32_t sequences, uint32_t source_tokens)
      : runner_(runner),
        tables_(sequences, PagesFor(64, runner.self_slots()),
                PagesFor(source_tokens, runner.cross_slots())) {
    options_.max_new_tokens = 64;
    for (uint32_t i = 0; i < source_tokens; ++i) source_.push_back(3 + static_cast<int>(i % 500));
    source_.back() = 1;
    result_.sequences.reserve(sequences);
    for (SequenceId id = 0; id < sequences; ++id) {
      runner_.JoinDocument(id, source_);
      runner_.Join(id, {source_, &options_, options_.max_new_tokens});
      StepPlan plan;
      plan.encodes.push_back(
          {id, 0, 0, NumEncodeItems(runner_.encode_shape(), source_tokens), true});
      EXPECT_TRUE(runner_.Run(plan, tables_, &result_).ok());
      plan_.decodes.push_back({id, 0, 0, 0, 0, 0});
      ids_.push_back(id);
    }
    positions_.resize(sequences);
    counts_.reserve(sequences);
    plan_.decodes.reserve(64);
  }

  // A step with as many drafts as the runner proposes; false when a sequence is at its end.
  bool DecodeDrafts(uint32_t spare_rows) {
    runner_.ProposeDrafts(ids_, spare_rows, &counts_);
    plan_.decodes.clear();
    for (const SequenceId id : ids_) {
      for (uint32_t draft = 0; draft <= counts_[id]; ++draft) {
        const uint32_t position = positions_[id] + draft;
        const uint32_t slots = runner_.self_slots();
        const PageId page = tables_.SelfPages(id, 0)[position / slots];
        plan_.decodes.push_back({id, 0, draft, position, page, position % slots});
      }
      drafted_ += counts_[id];
    }
    EXPECT_TRUE(runner_.Run(plan_, tables_, &result_).ok());
    bool room = true;
    for (const SequenceId id : ids_) {
      positions_[id] += static_cast<uint32_t>(result_.sequences[id].tokens.size());
      room = room && positions_[id] + DraftPolicy::kMaxDrafts < options_.max_new_tokens;
    }
    return room;
  }
  uint32_t drafted() const { return drafted_; }

  void Decode(uint32_t position) {
    const uint32_t slots = runner_.self_slots();
    for (DecodeRow& row : plan_.decodes) {
      row.position = position;
      row.page = tables_.SelfPages(row.sequence, 0)[position / slots];
      row.slot = position % slots;
    }
    EXPECT_TRUE(runner_.Run(plan_, tables_, &result_).ok());
  }

 private:
  static uint32_t PagesFor(uint32_t tokens, uint32_t slots) { return (tokens + slots - 1) / slots; }

  StepRunner& runner_;
  FixedTables tables_;
  GenerationOptions options_;
  std::vector<int32_t> source_;
  StepPlan plan_;
  StepResult result_;
  std::vector<SequenceId> ids_;
  std::vector<uint32_t> positions_;  // the next one fed
  std::vector<uint32_t> counts_;
  uint32_t drafted_ = 0;
};

std::vector<OpRecord> RecordOf(const std::string& dir) {
  std::vector<OpRecord> record;
  RecordingObserver observer(&record);
  auto backend = MakeRefBackend().value();
  backend->set_observer(&observer);
  auto loaded = LoadModelOn(std::move(backend), OptionsFor(dir, "ref"));
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  record.clear();  // of loading
  StepRunner runner(std::move(loaded->parts));
  StepDriver driver(runner, 3, 100);
  for (uint32_t position = 0; position < 20; ++position) driver.Decode(position);
  return record;
}

TEST(StepRunner, WgqaRunsTheOpsAndTouchesTheBytesOfGqa) {
  // The two fixtures have the same shapes: 4 heads in 2 groups, 1 + 2 layers.
  const std::vector<OpRecord> wgqa = RecordOf("tests/golden/wgqa_g2");
  const std::vector<OpRecord> gqa = RecordOf("tests/golden/gqa_g2_from_mha");
  EXPECT_GT(wgqa.size(), 400u);
  ASSERT_EQ(wgqa.size(), gqa.size());
  for (size_t i = 0; i < wgqa.size(); ++i) {
    EXPECT_EQ(wgqa[i].op, gqa[i].op) << i;
    EXPECT_EQ(wgqa[i].bytes, gqa[i].bytes) << wgqa[i].op;
  }
}

TEST(StepRunner, MqaTouchesAQuarterOfTheKvBytesOfFourHeads) {
  uint64_t mqa = 0;
  uint64_t mha = 0;
  for (const OpRecord& op : RecordOf("tests/golden/mqa")) {
    if (op.op.starts_with("paged")) mqa += op.bytes;
  }
  for (const OpRecord& op : RecordOf("tests/golden/t5_v11_gated_untied")) {
    if (op.op.starts_with("paged")) mha += op.bytes;
  }
  EXPECT_GT(mqa, 0u);
  EXPECT_EQ(mha, 4 * mqa);
}

// A device's memory cannot be reached by the host: pages are closed but while an op runs.
TEST(StepRunner, TouchesDeviceMemoryByOpsOnly) {
  const std::vector<int32_t> source = {5, 6, 7, 1};
  const std::vector<int32_t> target = {0, 9, 8};
  for (const char* fixture : {"wgqa_g2", "bf16_weights", "dgqa_ema_g2", "pgqa_g2"}) {
    const EngineOptions options = OptionsFor(std::string("tests/golden/") + fixture, "ref");
    auto plain = LoadModel(options);
    auto guarded = LoadModelOn(std::make_unique<GuardedBackend>(), options);
    ASSERT_TRUE(plain.ok()) << plain.status();
    ASSERT_TRUE(guarded.ok()) << guarded.status();
    EXPECT_EQ(ModelProbe(*guarded->parts.model).Logits(source, target),
              ModelProbe(*plain->parts.model).Logits(source, target))
        << fixture;
    StepRunner runner(std::move(guarded->parts));
    StepDriver driver(runner, 2, 40);
    for (uint32_t position = 0; position < 5; ++position) driver.Decode(position);
  }
}

TEST(StepRunnerDeathTest, GuardedMemoryIsClosedToTheHost) {
  GuardedBackend backend;
  const auto memory = backend.Allocate(64);
  ASSERT_TRUE(memory.ok());
  const float one = 1;
  backend.Upload(&one, sizeof(one), memory->data());
  float back = 0;
  backend.Download(memory->data(), sizeof(back), &back);
  EXPECT_EQ(back, one);
  EXPECT_DEATH(*reinterpret_cast<volatile float*>(memory->data()) = 2, "");
}

class DecodeStep : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(DecodeStep, AllocatesNothingOfOurs) {
  const auto& [backend, dtype] = GetParam();
  for (const char* fixture : {"wgqa_g2", "kdgqa_g4", "dgqa_ema_g2", "pgqa_g2"}) {
    EngineOptions options = OptionsFor(std::string("tests/golden/") + fixture, backend);
    options.dtype = dtype;
    auto loaded = LoadModel(options);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    StepRunner runner(std::move(loaded->parts));
    StepDriver driver(runner, 5, 100);
    EXPECT_EQ(CountAllocations([&] {
                for (uint32_t position = 0; position < 40; ++position) driver.Decode(position);
              }),
              0u)
        << fixture;
  }
}

TEST_P(DecodeStep, WithDraftsAllocatesNothingOfOurs) {
  const auto& [backend, dtype] = GetParam();
  EngineOptions options = OptionsFor("tests/golden/wgqa_g2", backend);
  options.max_batch = 24;
  auto loaded = LoadModel(options);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  loaded->parts.drafter = std::make_unique<Drafter>(
      options.max_sequences, options.max_batch,
      std::make_unique<AnswerSource>(std::vector<Ids>{}, options.max_sequences,
                                     loaded->info.vocab_size),
      std::make_unique<EagerPolicy>());
  StepRunner runner(std::move(loaded->parts));
  StepDriver driver(runner, 3, 100);
  EXPECT_EQ(CountAllocations([&] {
              while (driver.DecodeDrafts(21)) {
              }
            }),
            0u);
  EXPECT_GT(driver.drafted(), 100u);
}

TEST_P(DecodeStep, WithPromptLookupAllocatesNothingOfOurs) {
  const auto& [backend, dtype] = GetParam();
  EngineOptions options = OptionsFor("tests/golden/wgqa_g2", backend);
  options.max_batch = 24;
  auto loaded = LoadModel(options);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  StepRunner runner(std::move(loaded->parts));
  StepDriver driver(runner, 3, 100);
  EXPECT_EQ(CountAllocations([&] {
              while (driver.DecodeDrafts(21)) {
              }
            }),
            0u);
}

TEST(ModelProbe, NoiseFollowsTheSeedAndNothingElse) {
  auto loaded = LoadModel(OptionsFor("tests/golden/pgqa_g2", "ref"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const std::vector<int32_t> source = {5, 6, 7, 1};
  const std::vector<int32_t> target = {0, 9, 8};
  ModelProbe probe(*loaded->parts.model);
  const std::vector<float> first = probe.Logits(source, target, 3);
  EXPECT_NE(probe.Logits(source, target, 4), first);
  EXPECT_EQ(probe.Logits(source, target, 3), first);
}

// Winner takes all: at every position and in every layer one KV head serves all query heads, and
// which one differs.
TEST(ModelProbe, SplitsOfKdgqaWithTwoKvHeadsAreAllOrNothing) {
  auto loaded = LoadModel(OptionsFor("tests/golden/kdgqa_g2", "ref"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  std::vector<int32_t> target = {0};
  for (int32_t i = 0; i < 40; ++i) target.push_back(3 + i * 7 % 500);
  std::vector<HeadSplit> splits;
  ModelProbe(*loaded->parts.model).Logits(std::vector<int32_t>{5, 6, 7, 1}, target, 0, &splits);
  ASSERT_EQ(splits.size(), target.size() * 2 * 2);
  for (const HeadSplit& split : splits) {
    EXPECT_THAT(split.heads,
                testing::AnyOf(testing::ElementsAre(4, 0), testing::ElementsAre(0, 4)));
  }
}

TEST(CountAllocations, SeesAnAllocation) {
  EXPECT_EQ(CountAllocations([] {
              std::vector<int> v(100);
              v[99] = 1;
            }),
            1u);
}

std::string Name(const testing::TestParamInfo<std::pair<const char*, const char*>>& info) {
  return std::string(info.param.first) + "_" + info.param.second;
}
INSTANTIATE_TEST_SUITE_P(Ref, DecodeStep, testing::Values(std::pair("ref", "f32")), Name);
#if PRECIS_TEST_CPU_BACKEND
INSTANTIATE_TEST_SUITE_P(Cpu, DecodeStep, testing::Values(std::pair("cpu", "f32")), Name);
#endif

}  // namespace
}  // namespace precis
