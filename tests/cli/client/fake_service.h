// A SummarizationService on a loopback port that answers each stream with what a test has put in
// it. Owner: a test. Thread rule: the script is set before the call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "precis/v1/summarization.grpc.pb.h"

namespace precis::cli {

class FakeService final : public v1::SummarizationService::Service {
 public:
  FakeService() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }

  grpc::Status StreamSummarize(grpc::ServerContext* /*context*/,
                               const v1::StreamSummarizeRequest* request,
                               grpc::ServerWriter<v1::StreamSummarizeResponse>* writer) override {
    received = *request;
    for (const auto& event : events) writer->Write(event);
    return status;
  }

  const std::string& address() const { return address_; }

  std::vector<v1::StreamSummarizeResponse> events;
  grpc::Status status;
  v1::StreamSummarizeRequest received;

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;  // last: it stops before what it uses is gone
};

}  // namespace precis::cli
