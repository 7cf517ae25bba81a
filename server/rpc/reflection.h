// gRPC's reflection protocol: which services there are, and the files that declare them. Ours,
// since the packaged gRPC speaks v1alpha alone, and newer clients ask for v1.
//
// Owner: the server. Thread rule: gRPC's callback threads; the list of names does not change.
#pragma once

#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "grpcpp/support/server_callback.h"

namespace precis {

// Full names of all services of --listen.
std::vector<std::string> ServedNames();

// Both versions have the same messages under other names.
template <typename ServiceType, typename Request, typename Response>
class ReflectionOf final : public ServiceType::CallbackService {
 public:
  // `services`: full names; outlives this.
  explicit ReflectionOf(const std::vector<std::string>& services) : services_(services) {}

  grpc::ServerBidiReactor<Request, Response>* ServerReflectionInfo(
      grpc::CallbackServerContext* context) override;

 private:
  const std::vector<std::string>& services_;
};

using ReflectionV1 = ReflectionOf<grpc::reflection::v1::ServerReflection,
                                  grpc::reflection::v1::ServerReflectionRequest,
                                  grpc::reflection::v1::ServerReflectionResponse>;
using ReflectionV1Alpha = ReflectionOf<grpc::reflection::v1alpha::ServerReflection,
                                       grpc::reflection::v1alpha::ServerReflectionRequest,
                                       grpc::reflection::v1alpha::ServerReflectionResponse>;

}  // namespace precis
