// What a start reports: the log lines that say what was chosen and why, and the file with the
// ports.
//
// Called by main. Thread rule: one thread.
#pragma once

#include <string>

#include "common/status.h"
#include "engine/api/model_info.h"
#include "server/config/options.h"

namespace precis {

// Lines of gRPC, protobuf and this program go to one log.
void RouteLibraryLogs();
void LogModel(const ServerOptions& options, const ModelInfo& model);
// The last line of --check, of a model that can be served.
std::string Verdict(const ServerOptions& options, const ModelInfo& model);
// "grpc=PORT", "metrics=PORT" and, unless it is 0, "health=PORT", a line each; appears complete or
// not at all.
Status WritePortFile(const std::string& path, int port, int metrics_port, int health_port);

}  // namespace precis
