// The cross-page cache as the engine shows it, over a fake model: whose documents are found, what
// is said of it, and what becomes of the pages.
#include <thread>

#include "engine/sched/document_index.h"
#include "gtest/gtest.h"
#include "tests/engine/run/fake_runner.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

class CrossCache : public testing::Test {
 protected:
  void Start(bool keep = true, bool share = false) {
    EngineOptions options;
    options.max_batch = 8;
    options.max_sequences = 64;
    options.max_source_tokens = 256;
    options.max_new_tokens = 64;
    options.cross_cache = keep;
    options.share_cross_cache = share;
    FakeModel model;
    model.step_time = std::chrono::microseconds(200);
    engine_ = MakeFakeEngine(options, model, &control_);
  }

  struct Pending {
    std::shared_ptr<Arrival> arrival = std::make_shared<Arrival>();
    SequenceHandle handle;
  };
  Pending Submit(std::vector<int32_t> ids, const std::string& principal = "") {
    Pending pending;
    SequenceRequest request;
    request.source_ids = std::move(ids);
    request.options.max_new_tokens = 8;
    request.principal = principal;
    request.listener = pending.arrival;
    pending.handle = engine_->Submit(std::move(request)).value();
    return pending;
  }
  // The last event.
  static TokenEvent Wait(Pending pending) {
    while (true) {
      while (auto event = pending.handle.Poll()) {
        if (event->kind == TokenEvent::Kind::kFinished) return *event;
      }
      pending.arrival->Wait();
    }
  }
  TokenEvent Run(std::vector<int32_t> ids, const std::string& principal = "") {
    return Wait(Submit(std::move(ids), principal));
  }

  FakeControl control_;
  std::unique_ptr<Engine> engine_;
};

const std::vector<int32_t> kSource = {7, 5, 9, 11, 13, 1};

TEST_F(CrossCache, TheSameDocumentAgainSkipsItsEncoder) {
  Start();
  EXPECT_FALSE(Run(kSource).cache_hit);
  const uint64_t encoded = engine_->stats().encoded_tokens;
  EXPECT_EQ(encoded, kSource.size());
  EXPECT_TRUE(Run(kSource).cache_hit);
  EXPECT_FALSE(Run({7, 5, 9, 11, 14, 1}).cache_hit) << "one token is another";
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.encoded_tokens, 2 * encoded);
  EXPECT_EQ(stats.cache_hits, 1u);
  EXPECT_EQ(stats.cache_misses, 2u);
}

TEST_F(CrossCache, PagesStayUntilTheFlushAndAreNobodysMeanwhile) {
  Start();
  Run(kSource);
  EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.pages_cross + stats.pages_self + stats.pages_promised, 0u);
  EXPECT_EQ(stats.pages_cached, 2u);
  EXPECT_EQ(stats.cached_documents, 1u);
  engine_->FlushCache();
  stats = engine_->stats();
  EXPECT_EQ(stats.pages_cached, 0u);
  EXPECT_EQ(stats.cached_documents, 0u);
  EXPECT_FALSE(Run(kSource).cache_hit);
}

TEST_F(CrossCache, NothingIsKeptWhereItIsOff) {
  Start(/*keep=*/false);
  Run(kSource);
  EXPECT_EQ(engine_->stats().pages_cached, 0u);
  EXPECT_FALSE(Run(kSource).cache_hit);
}

TEST_F(CrossCache, PrincipalsDoNotFindEachOthersDocuments) {
  Start();
  Run(kSource, "one");
  EXPECT_FALSE(Run(kSource, "two").cache_hit);
  EXPECT_EQ(engine_->stats().encoded_tokens, 2 * kSource.size());
  EXPECT_TRUE(Run(kSource, "two").cache_hit);
}

TEST_F(CrossCache, WhereTheyShareOnlyOwnHitsAreTold) {
  Start(true, /*share=*/true);
  Run(kSource, "one");
  EXPECT_FALSE(Run(kSource, "two").cache_hit) << "it would tell what one has sent";
  EXPECT_EQ(engine_->stats().encoded_tokens, kSource.size());
  EXPECT_TRUE(Run(kSource, "one").cache_hit);
}

TEST_F(CrossCache, ConcurrentIdenticalDocumentsAreEncodedOnce) {
  Start();
  control_.stuck = true;
  std::vector<Pending> all;
  all.push_back(Submit({3, 4}));  // holds the step thread, so that the others arrive together
  for (int i = 0; i < 5; ++i) all.push_back(Submit(kSource));
  control_.stuck = false;
  for (Pending& pending : all) {
    EXPECT_EQ(Wait(std::move(pending)).reason, FinishReason::kEndOfSequence);
  }
  EXPECT_EQ(engine_->stats().encoded_tokens, 2 + kSource.size());
}

TEST_F(CrossCache, AnEncodeSurvivesTheFirstRequestersLeaving) {
  Start();
  control_.stuck = true;
  Pending first = Submit(kSource);
  Pending second = Submit(kSource);
  while (control_.runs.load() == 0) std::this_thread::yield();
  first.handle.Cancel();
  control_.stuck = false;
  EXPECT_EQ(Wait(std::move(first)).reason, FinishReason::kCancelled);
  EXPECT_EQ(Wait(std::move(second)).reason, FinishReason::kEndOfSequence);
  EXPECT_EQ(engine_->stats().encoded_tokens, kSource.size());
}

TEST_F(CrossCache, WhatAFailedStepEncodedIsNotFound) {
  Start();
  control_.fail_next = true;
  EXPECT_EQ(Run(kSource).reason, FinishReason::kError);
  EXPECT_EQ(engine_->stats().pages_cached, 0u);
  EXPECT_FALSE(Run(kSource).cache_hit);
}

TEST_F(CrossCache, AFlushAfterTheStopReturns) {
  Start();
  Run(kSource);
  engine_->Stop();
  engine_->FlushCache();
  EXPECT_EQ(engine_->stats().pages_cached, 0u);
}

TEST(DocumentIndex, FindsByOwnerAndAllIds) {
  DocumentIndex index;
  index.Add(3, 0, {1, 2, 3});
  index.Add(0, 1, {1, 2, 3});
  index.Add(1, 0, {1, 2});
  EXPECT_EQ(index.Find(0, std::vector<int32_t>{1, 2, 3}), 3u);
  EXPECT_EQ(index.Find(1, std::vector<int32_t>{1, 2, 3}), 0u);
  EXPECT_EQ(index.Find(1, std::vector<int32_t>{1, 2}), std::nullopt);
  EXPECT_EQ(index.Find(0, std::vector<int32_t>{1, 2, 4}), std::nullopt);
  index.Remove(3);
  EXPECT_EQ(index.Find(0, std::vector<int32_t>{1, 2, 3}), std::nullopt);
  EXPECT_EQ(index.size(), 2u);
}

}  // namespace
}  // namespace precis
