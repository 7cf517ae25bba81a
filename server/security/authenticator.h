// Who a call is from: by its bearer token where --auth-tokens is set, else by its certificate, else
// by its address.
//
// Owner: the server; CallEntry asks it. Thread rule: any thread.
#pragma once

#include <memory>

#include "common/mutex.h"
#include "common/status.h"
#include "grpcpp/server_context.h"
#include "server/config/client.h"
#include "server/config/options.h"
#include "server/security/bearer_tokens.h"

namespace precis {

class Authenticator {
 public:
  explicit Authenticator(const ServerOptions& options) : options_(options) {}

  bool needs_tokens() const { return !options_.auth_tokens.empty(); }
  // Reads the file of tokens, where there is one. On an error the tokens read before stay.
  Status Load();

  // UNAUTHENTICATED when a token is needed and the call has no good one; the same words whatever is
  // wrong with it.
  StatusOr<Client> Identify(const grpc::CallbackServerContext& context) const;

 private:
  std::shared_ptr<const TokenSet> tokens() const;

  const ServerOptions& options_;
  mutable Mutex mutex_;
  // Shared with the calls that look into it while it is replaced.
  std::shared_ptr<const TokenSet> tokens_ PRECIS_GUARDED_BY(mutex_);
};

// "ipv4:10.0.0.1:4711" without its port: what two connections of one machine have in common.
std::string AddressOfPeer(const std::string& peer);

}  // namespace precis
