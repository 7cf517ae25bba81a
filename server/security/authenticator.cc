#include "server/security/authenticator.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "common/log.h"
#include "grpc/grpc_security_constants.h"
#include "server/security/guarded_file.h"

namespace precis {
namespace {

constexpr char kAuthorization[] = "authorization";
constexpr std::string_view kScheme = "bearer ";

// The token of a header `Bearer TOKEN`; empty when it is something else.
std::string_view TokenOf(std::string_view header) {
  const bool is_bearer =
      header.size() > kScheme.size() &&
      std::equal(kScheme.begin(), kScheme.end(), header.begin(), [](char a, char b) {
        return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
      });
  if (!is_bearer) return {};
  header.remove_prefix(kScheme.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

// The subject of the client's certificate, or its first other name; empty without one.
std::string SubjectOf(const grpc::AuthContext* auth) {
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return "";
  for (const char* property : {GRPC_X509_SUBJECT_PROPERTY_NAME, GRPC_X509_SAN_PROPERTY_NAME}) {
    const auto values = auth->FindPropertyValues(property);
    if (!values.empty() && !values[0].empty()) return {values[0].data(), values[0].size()};
  }
  return "";
}

}  // namespace

std::string AddressOfPeer(const std::string& peer) {
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return peer;
  return peer.substr(0, peer.rfind(':'));
}

Status Authenticator::Load() {
  if (!needs_tokens()) return OkStatus();
  PRECIS_ASSIGN_OR_RETURN(const std::string text,
                          ReadGuardedFile(options_.auth_tokens, FileRule::kSecret));
  PRECIS_ASSIGN_OR_RETURN(TokenSet set,
                          TokenSet::Parse(text, options_.auth_tokens, options_.client_limits));
  spdlog::info("tokens: {} of {} clients", set.num_tokens(), set.num_clients());
  auto tokens = std::make_shared<const TokenSet>(std::move(set));
  MutexLock lock(mutex_);
  tokens_.swap(tokens);  // the old ones go after the lock
  return OkStatus();
}

std::shared_ptr<const TokenSet> Authenticator::tokens() const {
  MutexLock lock(mutex_);
  return tokens_;
}

StatusOr<Client> Authenticator::Identify(const grpc::CallbackServerContext& context) const {
  if (needs_tokens()) {
    const auto [begin, end] = context.client_metadata().equal_range(kAuthorization);
    // One header: of several, others on the way might have read another one.
    if (begin != end && std::next(begin) == end) {
      const std::string_view token = TokenOf({begin->second.data(), begin->second.size()});
      const std::shared_ptr<const TokenSet> set = tokens();
      const Client* client = token.empty() || set == nullptr ? nullptr : set->Find(token);
      if (client != nullptr) return *client;
    }
    return Status(absl::StatusCode::kUnauthenticated,
                  "a valid token is needed, as metadata 'authorization: Bearer TOKEN'");
  }
  Client client;
  client.limits = options_.client_limits;
  const std::string subject = SubjectOf(context.auth_context().get());
  if (!subject.empty()) client.name = "certificate:" + subject;
  client.account = subject.empty() ? AddressOfPeer(context.peer()) : client.name;
  return client;
}

}  // namespace precis
