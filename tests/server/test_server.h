// A real server over a real engine loop, with a model that is a function: what the in-process tests
// talk to, over gRPC on a free port.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/text/tokenizer.h"
#include "fmt/format.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "precis/v1/summarization.grpc.pb.h"
#include "server/server.h"
#include "tests/engine/run/fake_runner.h"
#include "tests/support/eventually.h"

namespace precis {

// Every byte is the id 3 + byte % 200; id n reads "n ".
class FakeTokenizer final : public Tokenizer {
 public:
  StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(3 + static_cast<unsigned char>(c) % 200);
    return ids;
  }
  bool IsBlank(std::string_view text) const override {
    return text.find_first_not_of(" \t\r\n") == text.npos;
  }
  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) text += fmt::format("{} ", id);
    return text;
  }
  void DecodeNext(int32_t id, DecodeState*, std::string* out) const override {
    *out += fmt::format("{} ", id);
  }
  void DecodeEnd(DecodeState*, std::string*) const override {}
  int32_t end_id() const override { return 1; }
  uint32_t num_pieces() const override { return 512; }
  std::string_view source() const override { return "fake"; }
};

struct TestModel {
  FakeModel model;
  FakeControl* control = nullptr;
  bool subtracts_noise = false;
};

inline ServerOptions TestOptions() {
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.metrics_listen = "";
  options.reflection = false;
  options.engine.max_batch = 8;
  options.engine.max_sequences = 64;
  options.engine.max_source_tokens = 256;
  options.engine.max_new_tokens = 200;
  options.text.max_text_bytes = 1000;
  options.log.level = "off";
  return options;
}

class TestServer {
 public:
  explicit TestServer(const ServerOptions& options = TestOptions(), const TestModel& model = {},
                      grpc::HealthCheckServiceInterface* health_port = nullptr) {
    ModelInfo info;
    info.name = "fake";
    info.fingerprint = "0123456789abcdef";
    info.vocab_size = model.model.vocab_size;
    info.page_bytes = 1;
    info.subtracts_noise = model.subtracts_noise;
    auto engine = Engine::CreateWithRunner(
        options.engine, std::make_unique<FakeRunner>(model.model, model.control), info);
    LoadedSummarizer loaded;
    loaded.engine = *std::move(engine);
    loaded.summarizer = std::make_unique<Summarizer>(
        *loaded.engine, std::make_unique<FakeTokenizer>(), options.text);
    engine_ = loaded.engine.get();
    spdlog::set_level(spdlog::level::off);
    auto server = Server::Start(options, std::move(loaded), health_port);
    if (!server.ok()) {
      ADD_FAILURE() << server.status();
      std::abort();
    }
    server_ = *std::move(server);
    address_ = fmt::format("127.0.0.1:{}", server_->port());
    stub_ = v1::SummarizationService::NewStub(NewChannel());
  }

  std::shared_ptr<grpc::Channel> NewChannel() const {
    return grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  }
  v1::SummarizationService::Stub& stub() { return *stub_; }
  Server& server() { return *server_; }
  Engine& engine() { return *engine_; }
  const std::string& address() const { return address_; }

  // True when nothing is under way and every page is back.
  bool BecomesIdle() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < end) {
      const EngineStats s = engine_->stats();
      if (server_->core().admission.requests() == 0 &&
          s.pages_self + s.pages_cross + s.pages_promised == 0 &&
          s.waiting + s.encoding + s.decoding == 0) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

 private:
  std::unique_ptr<Server> server_;
  Engine* engine_ = nullptr;
  std::string address_;
  std::unique_ptr<v1::SummarizationService::Stub> stub_;
};

// A source whose answer has `length` tokens; `salt` makes answers differ.
template <typename Request>
Request IdsRequest(uint32_t salt, uint32_t length) {
  Request request;
  request.mutable_token_ids()->add_ids(3 + salt % 400);
  request.mutable_token_ids()->add_ids(length);
  request.mutable_options()->set_max_new_tokens(200);
  return request;
}

inline std::string ExpectedText(uint32_t salt, uint32_t length) {
  const std::vector<int32_t> source = {static_cast<int32_t>(3 + salt % 400),
                                       static_cast<int32_t>(length)};
  return FakeTokenizer().Decode(FakeAnswer(source, 200, FakeModel().vocab_size));
}

template <typename Message>
std::optional<Message> DetailOf(const grpc::Status& status) {
  google::rpc::Status rpc;
  Message message;
  if (!rpc.ParseFromString(status.error_details())) return std::nullopt;
  for (const auto& any : rpc.details()) {
    if (any.UnpackTo(&message)) return message;
  }
  return std::nullopt;
}

inline std::string ReasonIn(const grpc::Status& status) {
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

inline std::string FieldIn(const grpc::Status& status) {
  const auto bad = DetailOf<google::rpc::BadRequest>(status);
  return bad ? bad->field_violations(0).field() : "";
}

}  // namespace precis
