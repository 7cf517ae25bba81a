// The clients of a token file: lines `name sha256 [key=value ...]`, where sha256 is the digest of a
// bearer token in hex, and the rest are that client's limits. '#' begins a comment.
//
// Owner: the authenticator, which replaces it whole. Thread rule: immutable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "server/config/client.h"

namespace precis {

class TokenSet {
 public:
  // INVALID_ARGUMENT says "path:line: what". No line is quoted: it may hold a token by mistake.
  static StatusOr<TokenSet> Parse(std::string_view text, const std::string& path,
                                  const ClientLimits& defaults);

  // Null when no one has this token. Takes as long for a wrong token as for a right one.
  const Client* Find(std::string_view token) const;

  size_t num_tokens() const { return entries_.size(); }
  size_t num_clients() const { return clients_.size(); }

 private:
  using Digest = std::array<uint8_t, 32>;
  struct Entry {
    Digest digest;
    size_t client;
  };
  static StatusOr<Digest> ParseDigest(std::string_view hex);
  Status AddLine(std::string_view line, const ClientLimits& defaults);

  std::vector<Entry> entries_;
  std::vector<Client> clients_;
};

}  // namespace precis
