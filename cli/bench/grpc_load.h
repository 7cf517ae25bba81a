// A server under load, as a client sees it. Owner: `precis bench serving`. Thread rule: as
// LoadTarget; gRPC's threads note when events come.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "precis/v1/summarization.grpc.pb.h"
#include "tools/bench/load.h"

namespace precis::cli {

// What a server says of its default model.
struct RemoteModel {
  std::string name;
  std::string numerics;
  uint32_t vocab_size = 0;
};

// Streams every request: token ids in, drafts off, exactly so many tokens. A token is heard of when
// the text that it ends is; several of one piece of text count as one.
class GrpcTarget final : public LoadTarget {
 public:
  explicit GrpcTarget(std::unique_ptr<v1::SummarizationService::Stub> stub);
  ~GrpcTarget() override;

  StatusOr<RemoteModel> Model() const;
  Status Send(size_t index, const LoadRequest& request) override;
  Status Take(std::vector<LoadOutcome>* outcomes) override;
  void GiveUp() override;

 private:
  class Call;
  struct Wire;
  const std::unique_ptr<Wire> wire_;
};

}  // namespace precis::cli
