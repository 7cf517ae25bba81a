// A server by its address, and what proves to it who we are. Owner: a command. Thread rule: the
// stub may be used by any thread.
#pragma once

#include <memory>
#include <string>

#include "CLI/App.hpp"
#include "common/status.h"
#include "precis/v1/summarization.grpc.pb.h"

namespace precis::cli {

struct Credentials {
  std::string tls_ca;      // file of the server's authority, or "system"; empty: no encryption
  std::string tls_cert;    // file of our own certificate, where the server wants one
  std::string tls_key;     // and its key
  std::string token_file;  // empty: PRECIS_TOKEN of the environment, else none
};

// --tls-ca, --tls-cert, --tls-key and --token-file. There is no flag for the token itself: every
// user of a machine can read the words of its commands.
void AddCredentialFlags(CLI::App& command, Credentials* credentials);

// Connects when it is first used. The error names a file that cannot be read, or says that a token
// would leave this machine unencrypted.
StatusOr<std::unique_ptr<v1::SummarizationService::Stub>> Connect(
    const std::string& server, const Credentials& credentials = {});

}  // namespace precis::cli
