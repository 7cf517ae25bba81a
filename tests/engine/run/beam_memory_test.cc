// What 16 beams hold beside 16 greedy requests: pages are counted, not timed, so the table of
// docs/kv_cache.md is exact. The demo model has one KV layout; pages are what matters.
#include <algorithm>
#include <vector>

#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

constexpr uint32_t kSource = 512;
constexpr uint32_t kNewTokens = 128;
constexpr uint32_t kCrossPages = kSource / 16;
constexpr uint32_t kSelfPages = kNewTokens / 16;

std::vector<int32_t> Source(int32_t first) {
  std::vector<int32_t> ids(kSource);
  for (uint32_t i = 0; i < kSource; ++i) ids[i] = 40 + (first + static_cast<int32_t>(i) * 7) % 900;
  ids.back() = 1;
  return ids;
}

struct Peak {
  uint32_t pages = 0;
  uint64_t bytes = 0;
};

// Most pages leased at once while the requests run together, all of them to their last token.
Peak PeakOf(const std::vector<std::vector<int32_t>>& sources, uint32_t beams) {
  EngineOptions options;
  options.model_dir = "models/demo";
  options.pool_bytes = 256u << 20;
  options.max_source_tokens = kSource;
  options.max_new_tokens = kNewTokens;
  auto engine = Engine::Create(options).value();
  GenerationOptions generation;
  generation.max_new_tokens = generation.min_new_tokens = kNewTokens;
  generation.num_beams = beams;
  generation.drafting = Drafting::kOff;
  std::vector<BlockingRun> runs;
  for (const auto& ids : sources) {
    runs.push_back(BlockingRun::Submit(*engine, ids, generation).value());
  }
  for (BlockingRun& run : runs) EXPECT_TRUE(run.Wait().status.ok());
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.pages_self + stats.pages_cross + stats.pages_promised, 0u);
  engine->FlushCache();
  EXPECT_EQ(engine->stats().pages_cached, 0u) << "used pages are zero after a flush";
  EXPECT_EQ(engine->info().self_slots, 16u);
  EXPECT_EQ(engine->info().cross_slots, 16u);
  return {stats.pages_peak, stats.pages_peak * stats.page_bytes};
}

void Print(const char* what, const Peak& peak) {
  fmt::print("| {} | {} | {:.1f} MiB |\n", what, peak.pages,
             static_cast<double>(peak.bytes) / (1 << 20));
}

TEST(BeamMemory, SixteenBeamsShareWhatSixteenRequestsHoldEach) {
  std::vector<std::vector<int32_t>> different;
  for (int32_t i = 0; i < 16; ++i) different.push_back(Source(i));
  const std::vector<std::vector<int32_t>> same(16, Source(0));

  const Peak beams = PeakOf({Source(0)}, 16);
  const Peak one = PeakOf({Source(0)}, 1);
  const Peak copies = PeakOf(same, 1);
  const Peak others = PeakOf(different, 1);
  Print("1 request, greedy", one);
  Print("1 request, 16 beams", beams);
  Print("16 greedy requests on one document", copies);
  Print("16 greedy requests on 16 documents", others);

  EXPECT_EQ(one.pages, kCrossPages + kSelfPages);
  EXPECT_EQ(copies.pages, kCrossPages + 16 * kSelfPages);
  // The first are done before the last are encoded, so not all hold all at once.
  EXPECT_LE(others.pages, 16 * (kCrossPages + kSelfPages));
  EXPECT_GT(others.pages, 12 * (kCrossPages + kSelfPages));
  // Cross pages once; of self pages at most all tables full, and beams share their past.
  EXPECT_LT(beams.pages, copies.pages);
  EXPECT_LT(beams.pages * 5, others.pages);
}

}  // namespace
}  // namespace precis
