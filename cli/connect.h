// A server by its address. Owner: a command. Thread rule: the stub may be used by any thread.
#pragma once

#include <memory>
#include <string>

#include "precis/v1/summarization.grpc.pb.h"

namespace precis::cli {

// Connects when it is first used.
std::unique_ptr<v1::SummarizationService::Stub> Connect(const std::string& server);

}  // namespace precis::cli
