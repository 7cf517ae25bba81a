#include "engine/request/summarizer.h"

#include <random>
#include <unordered_map>
#include <utility>

#include "common/mutex.h"
#include "engine/load/memory_errors.h"
#include "engine/request/summary_call.h"
#include "engine/request/text_pool.h"
#include "engine/request/waiting_calls.h"
#include "engine/text/tokenizer.h"
#include "fmt/format.h"

namespace precis {
namespace {

// What the caller holds: dropping it cancels.
class CallHandle final : public SummaryCall {
 public:
  explicit CallHandle(std::shared_ptr<TextCall> call) : call_(std::move(call)) {}
  ~CallHandle() override { Cancel(); }
  void Cancel() override { call_->Cancel(); }

 private:
  const std::shared_ptr<TextCall> call_;  // shared with the summarizer and the step thread
};

}  // namespace

class Summarizer::Impl {
 public:
  Impl(Engine& engine, std::unique_ptr<Tokenizer> tokenizer, const SummarizerOptions& options)
      : limits_{engine.generation_limits(), engine.source_limit(), options.max_text_bytes},
        tokenizer_(std::move(tokenizer)),
        pool_(std::make_shared<TextPool>(options.text_threads)),
        context_{engine, *tokenizer_, waiting_, pool_, [this](TextCall* call) { Forget(call); }} {}

  ~Impl() {
    {
      MutexLock lock(mutex_);
      for (const auto& [key, call] : calls_) call->Cancel();
      while (!calls_.empty()) gone_.Wait(mutex_);
    }
    pool_->Close();
  }

  StatusOr<ValidRequest> Validate(SummarizeRequest request) {
    return ValidRequest::Validate(std::move(request), context_.engine.info().defaults, limits_,
                                  DrawSeed());
  }

  StatusOr<std::unique_ptr<SummaryCall>> Start(ValidRequest request,
                                               std::shared_ptr<SummaryListener> listener) {
    auto call = std::make_shared<TextCall>(context_, std::move(request), std::move(listener));
    {
      MutexLock lock(mutex_);
      if (calls_.size() >= context_.engine.options().max_sequences) {
        return ReasonError(
            absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
            fmt::format("{} requests are unfinished, which is the limit", calls_.size()));
      }
      calls_.emplace(call.get(), call);
    }
    call->Wake();
    return std::make_unique<CallHandle>(std::move(call));
  }

 private:
  uint64_t DrawSeed() {
    MutexLock lock(mutex_);
    return seeds_();
  }

  void Forget(TextCall* call) {
    MutexLock lock(mutex_);
    calls_.erase(call);
    gone_.NotifyAll();
  }

  const RequestLimits limits_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  Mutex mutex_;
  CondVar gone_;
  std::mt19937_64 seeds_ PRECIS_GUARDED_BY(mutex_){std::random_device{}()};
  std::unordered_map<TextCall*, std::shared_ptr<TextCall>> calls_ PRECIS_GUARDED_BY(mutex_);
  WaitingCalls waiting_;
  const std::shared_ptr<TextPool> pool_;  // shared with the calls
  const TextCall::Context context_;
};

Summarizer::Summarizer(Engine& engine, std::unique_ptr<Tokenizer> tokenizer,
                       const SummarizerOptions& options)
    : engine_(engine), impl_(std::make_unique<Impl>(engine, std::move(tokenizer), options)) {}

Summarizer::~Summarizer() = default;

StatusOr<ValidRequest> Summarizer::Validate(SummarizeRequest request) {
  return impl_->Validate(std::move(request));
}

StatusOr<std::unique_ptr<SummaryCall>> Summarizer::Start(
    ValidRequest request, std::shared_ptr<SummaryListener> listener) {
  return impl_->Start(std::move(request), std::move(listener));
}

StatusOr<LoadedSummarizer> LoadSummarizer(const EngineOptions& engine_options,
                                          const SummarizerOptions& summarizer_options) {
  return WithMemoryErrors([&]() -> StatusOr<LoadedSummarizer> {
    LoadedSummarizer model;
    PRECIS_ASSIGN_OR_RETURN(model.engine, Engine::Create(engine_options));
    PRECIS_ASSIGN_OR_RETURN(
        auto tokenizer, Tokenizer::Load(engine_options.model_dir, model.engine->info().vocab_size));
    model.summarizer =
        std::make_unique<Summarizer>(*model.engine, std::move(tokenizer), summarizer_options);
    return model;
  });
}

}  // namespace precis
