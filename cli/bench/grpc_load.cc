#include "cli/bench/grpc_load.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "cli/client/rpc_error.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "fmt/format.h"

namespace precis::cli {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(1);

v1::StreamSummarizeRequest ToWire(const LoadRequest& request) {
  v1::StreamSummarizeRequest out;
  for (const int32_t id : request.source_ids) {
    out.mutable_token_ids()->add_ids(static_cast<uint32_t>(id));
  }
  out.mutable_options()->set_max_new_tokens(request.new_tokens);
  out.mutable_options()->set_min_new_tokens(request.new_tokens);
  out.mutable_options()->set_num_beams(1);
  out.mutable_options()->set_drafting(v1::DRAFTING_OFF);
  return out;
}

}  // namespace

// One request on its way.
class GrpcTarget::Call final : public grpc::ClientReadReactor<v1::StreamSummarizeResponse> {
 public:
  Call(v1::SummarizationService::Stub& stub, size_t index, const LoadRequest& request)
      : wanted_(request.new_tokens), request_(ToWire(request)) {
    outcome_.index = index;
    stub.async()->StreamSummarize(&context_, &request_, this);
    StartRead(&event_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const double at = Seconds(clock_.Now() - start_);
    if (event_.has_delta()) {
      if (outcome_.first_token_s == 0) {
        outcome_.first_token_s = at;
      } else {
        outcome_.inter_token_s.push_back(at - last_s_);
      }
      last_s_ = at;
    }
    if (event_.has_finished()) {
      outcome_.total_s = at;
      generated_ = event_.finished().summary().generated_tokens();
      outcome_.finished = true;
    }
    StartRead(&event_);
  }

  void OnDone(const grpc::Status& status) override {
    MutexLock lock(mutex_);
    status_ = status;
    done_ = true;
  }

  bool done() const {
    MutexLock lock(mutex_);
    return done_;
  }
  void Cancel() { context_.TryCancel(); }

  // After done(). A full queue's refusal is an outcome: a rate that the server does not hold.
  StatusOr<LoadOutcome> TakeOutcome() {
    MutexLock lock(mutex_);
    if (status_.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) return std::move(outcome_);
    if (!status_.ok()) return Unavailable(ToText(ReadRpcError(status_), "the server"));
    if (generated_ != wanted_) {
      return Internal(
          fmt::format("{} tokens were generated, {} were asked for", generated_, wanted_));
    }
    return std::move(outcome_);
  }

 private:
  const SteadyClock clock_;
  const TimePoint start_ = clock_.Now();
  const uint32_t wanted_;
  const v1::StreamSummarizeRequest request_;
  grpc::ClientContext context_;
  v1::StreamSummarizeResponse event_;
  LoadOutcome outcome_;  // gRPC calls one of ours at a time, and OnDone last
  double last_s_ = 0;
  uint32_t generated_ = 0;
  mutable Mutex mutex_;
  grpc::Status status_ PRECIS_GUARDED_BY(mutex_);
  bool done_ PRECIS_GUARDED_BY(mutex_) = false;
};

struct GrpcTarget::Wire {
  std::unique_ptr<v1::SummarizationService::Stub> stub;
  std::vector<std::unique_ptr<Call>> calls;
};

GrpcTarget::GrpcTarget(std::unique_ptr<v1::SummarizationService::Stub> stub)
    : wire_(std::make_unique<Wire>(Wire{std::move(stub), {}})) {}

GrpcTarget::~GrpcTarget() { GiveUp(); }

StatusOr<RemoteModel> GrpcTarget::Model() const {
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  const grpc::Status status = wire_->stub->ListModels(&context, {}, &models);
  if (!status.ok()) return Unavailable(ToText(ReadRpcError(status), "the server"));
  if (models.models().empty()) return FailedPrecondition("the server has no model");
  const v1::Model& model = models.models(0);
  return RemoteModel{model.name(), model.numerics(), model.vocab_size()};
}

Status GrpcTarget::Send(size_t index, const LoadRequest& request) {
  wire_->calls.push_back(std::make_unique<Call>(*wire_->stub, index, request));
  return OkStatus();
}

Status GrpcTarget::Take(std::vector<LoadOutcome>* outcomes) {
  std::vector<std::unique_ptr<Call>>& calls = wire_->calls;
  const auto ended = std::stable_partition(
      calls.begin(), calls.end(), [](const std::unique_ptr<Call>& call) { return !call->done(); });
  for (auto call = ended; call != calls.end(); ++call) {
    PRECIS_ASSIGN_OR_RETURN(LoadOutcome outcome, (*call)->TakeOutcome());
    outcomes->push_back(std::move(outcome));
  }
  calls.erase(ended, calls.end());
  return OkStatus();
}

void GrpcTarget::GiveUp() {
  for (const std::unique_ptr<Call>& call : wire_->calls) call->Cancel();
  for (const std::unique_ptr<Call>& call : wire_->calls) {
    while (!call->done()) std::this_thread::sleep_for(kPollInterval);
  }
  wire_->calls.clear();
}

}  // namespace precis::cli
