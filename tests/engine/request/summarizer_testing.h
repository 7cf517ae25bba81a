// A summarizer over a fake model, and a listener that collects what it hears.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/mutex.h"
#include "engine/request/summarizer.h"
#include "engine/text/tokenizer.h"
#include "gtest/gtest.h"
#include "tests/engine/run/fake_runner.h"

namespace precis {

inline constexpr char kTokenizerDir[] = "tests/golden/wgqa_g2";

// Collects what a listener hears and lets a test wait for the end.
class Heard final : public SummaryListener {
 public:
  void OnAccepted(uint32_t source_tokens) override { accepted_tokens = source_tokens; }
  void OnStarted() override {
    EXPECT_GT(accepted_tokens, 0u) << "it is accepted first";
    ++started;
  }
  void OnWindows(uint32_t done, uint32_t total) override {
    windows_done.push_back(done);
    windows_total = total;
  }
  void OnDelta(uint32_t index, const std::string& text) override {
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(started, 1) << "it has started first";
    if (index >= joined.size()) joined.resize(index + 1);
    joined[index] += text;
  }
  void OnFinished(StatusOr<Summary> summary) override {
    {
      MutexLock lock(mutex_);
      result_ = std::move(summary);
      ++finished_;
    }
    ready_.NotifyAll();
  }
  StatusOr<Summary> Wait() {
    MutexLock lock(mutex_);
    while (finished_ == 0) ready_.Wait(mutex_);
    EXPECT_EQ(finished_, 1);
    return result_;
  }

  uint32_t accepted_tokens = 0;
  int started = 0;
  std::vector<uint32_t> windows_done;
  uint32_t windows_total = 0;
  std::vector<std::string> joined;  // by index of the sequence

 private:
  Mutex mutex_;
  CondVar ready_;
  StatusOr<Summary> result_ PRECIS_GUARDED_BY(mutex_) = Internal("not finished");
  int finished_ PRECIS_GUARDED_BY(mutex_) = 0;
};

class SummarizerTest : public testing::Test {
 protected:
  SummarizerTest() {
    options_.max_batch = 8;
    options_.max_sequences = 32;
    options_.max_source_tokens = 200;
    options_.max_new_tokens = 64;
    Make({});
  }

  void Make(const FakeModel& model) {
    summarizer_.reset();
    ModelInfo info = FakeInfo(model);
    info.n_positions = n_positions_;
    engine_ = Engine::CreateWithRunner(options_, std::make_unique<FakeRunner>(model, &control_),
                                       std::move(info))
                  .value();
    auto tokenizer = Tokenizer::Load(kTokenizerDir, 544);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = tokenizer->get();
    summarizer_ =
        std::make_unique<Summarizer>(*engine_, *std::move(tokenizer),
                                     SummarizerOptions{.text_threads = 2, .max_text_bytes = 4000});
  }

  SummarizeRequest Request(Source source) {
    SummarizeRequest request;
    request.source = std::move(source);
    request.options.max_new_tokens = 40;
    return request;
  }

  StatusOr<std::unique_ptr<SummaryCall>> Start(SummarizeRequest request,
                                               std::shared_ptr<Heard> heard) {
    PRECIS_ASSIGN_OR_RETURN(ValidRequest valid, summarizer_->Validate(std::move(request)));
    return summarizer_->Start(std::move(valid), std::move(heard));
  }

  StatusOr<Summary> Run(SummarizeRequest request,
                        std::shared_ptr<Heard> heard = std::make_shared<Heard>()) {
    PRECIS_ASSIGN_OR_RETURN(auto call, Start(std::move(request), heard));
    return heard->Wait();
  }

  // True when no page is held and nothing is under way any more.
  bool NothingIsHeld() const {
    const EngineStats s = engine_->stats();
    return s.pages_self + s.pages_cross + s.pages_promised + s.waiting + s.encoding + s.decoding ==
           0;
  }

  EngineOptions options_;
  uint32_t n_positions_ = 0;  // both for the next Make()
  FakeControl control_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Summarizer> summarizer_;
  const Tokenizer* tokenizer_ = nullptr;
};

}  // namespace precis
