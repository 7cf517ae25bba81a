#include "server/rpc/unknown_method.h"

#include "server/observe/errors.h"

namespace precis {
namespace {

constexpr char kModelIsFixed[] = "not served: a server has the model that it was started with";
constexpr char kNoSharedMemory[] = "not served: tensors come in the message, not in shared memory";
constexpr char kOperators[] = "not served: log and metrics are the operator's";

constexpr struct {
  std::string_view path;  // its beginning
  const char* why;
} kReasons[] = {
    {"/inference.GRPCInferenceService/RepositoryModel", kModelIsFixed},
    {"/inference.GRPCInferenceService/SystemSharedMemory", kNoSharedMemory},
    {"/inference.GRPCInferenceService/CudaSharedMemory", kNoSharedMemory},
    {"/inference.GRPCInferenceService/TraceSetting", kOperators},
    {"/inference.GRPCInferenceService/LogSettings", kOperators},
};

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

Status WhyNotServed(std::string_view path) {
  for (const auto& reason : kReasons) {
    if (path.starts_with(reason.path)) return Unimplemented(reason.why);
  }
  // Not repeated: it is the client's text.
  return Unimplemented("no service here has this method");
}

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  CallContext call_context;
  Status status = core_.entry.Authenticate(context, Method::kUnknown, &call_context);
  if (status.ok()) status = WhyNotServed(context->method());
  AddCallMetadata(call_context, status, context);
  RecordOutcome(core_, call_context, status, nullptr);
  return new Refusal(ToGrpcStatus(status, context));
}

}  // namespace precis
