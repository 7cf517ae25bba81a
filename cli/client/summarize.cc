#include "cli/client/summarize.h"

#include <chrono>
#include <ostream>
#include <string>
#include <utility>

#include "cli/base/command.h"
#include "cli/client/connect.h"
#include "cli/client/peer_probe.h"
#include "cli/client/rpc_error.h"
#include "cli/client/summary_printer.h"
#include "fmt/format.h"

namespace precis::cli {
namespace {

void SetDeadline(double timeout_seconds, grpc::ClientContext& context) {
  if (timeout_seconds <= 0) return;
  const auto timeout = std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::duration<double>(timeout_seconds));
  context.set_deadline(std::chrono::system_clock::now() + timeout);
}

}  // namespace

int Summarize(const SummarizeOptions& options, const v1::StreamSummarizeRequest& request,
              std::ostream& out, std::ostream& err) {
  const auto stub = Connect(options.server, options.credentials);
  if (!stub.ok()) {
    err << "precis: " << std::string(stub.status().message()) << "\n";
    return kExitFailed;
  }
  grpc::ClientContext context;
  SetDeadline(options.timeout_seconds, context);
  const auto stream = (*stub)->StreamSummarize(&context, request);
  SummaryPrinter printer(options.json, out, err);
  v1::StreamSummarizeResponse event;
  while (stream->Read(&event)) {
    printer.OnEvent(event);
    if (!out) context.TryCancel();  // no one reads any more
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
  if (NobodyAnswered(error)) {
    err << TlsMismatch(options.server, !options.credentials.tls_ca.empty());
  }
  if (printer.wrote_text()) err << "  the text above is incomplete\n";
  return kExitFailed;
}

}  // namespace precis::cli
