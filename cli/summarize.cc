#include "cli/summarize.h"

#include <chrono>
#include <memory>
#include <ostream>
#include <utility>

#include "cli/command.h"
#include "cli/rpc_error.h"
#include "cli/summary_printer.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "precis/v1/summarization.grpc.pb.h"

namespace precis::cli {
namespace {

void SetDeadline(double timeout_seconds, grpc::ClientContext& context) {
  if (timeout_seconds <= 0) return;
  const auto timeout = std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::duration<double>(timeout_seconds));
  context.set_deadline(std::chrono::system_clock::now() + timeout);
}

// gRPC asks the proxy of the environment for any address; none can reach our own machine's
// loopback.
bool IsLocal(const std::string& server) {
  for (const char* start : {"127.", "localhost:", "[::1]:", "unix:"}) {
    if (server.rfind(start, 0) == 0) return true;
  }
  return false;
}

std::unique_ptr<v1::SummarizationService::Stub> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // log-probabilities of long summaries
  if (IsLocal(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return v1::SummarizationService::NewStub(
      grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments));
}

}  // namespace

int Summarize(const SummarizeOptions& options, const v1::StreamSummarizeRequest& request,
              std::ostream& out, std::ostream& err) {
  const auto stub = Connect(options.server);
  grpc::ClientContext context;
  SetDeadline(options.timeout_seconds, context);
  const auto stream = stub->StreamSummarize(&context, request);
  SummaryPrinter printer(options.json, out, err);
  v1::StreamSummarizeResponse event;
  while (stream->Read(&event)) {
    printer.OnEvent(event);
    if (!out) context.TryCancel();  // nobody reads any more
  }
  grpc::Status status = stream->Finish();
  if (!out) {
    err << "precis: writing the summary failed\n";
    return kExitFailed;
  }
  if (status.ok() && !printer.finished()) {
    status = grpc::Status(grpc::StatusCode::INTERNAL, "the stream ended without a summary");
  }
  if (status.ok()) return kExitOk;
  const RpcError error = ReadRpcError(status);
  printer.OnError(error);
  err << ToText(error, options.server);
  if (printer.wrote_text()) err << "  the text above is incomplete\n";
  return kExitFailed;
}

}  // namespace precis::cli
