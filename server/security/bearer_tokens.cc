#include "server/security/bearer_tokens.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>

#include "fmt/format.h"
#include "server/security/call_context.h"

namespace precis {
namespace {

constexpr size_t kMaxTokens = 4096;  // each is compared with each call's: a tenth of a millisecond
constexpr std::string_view kBlanks = " \t\r";

// The first word of `rest`, which loses it and the blanks before it.
std::string_view TakeWord(std::string_view* rest) {
  rest->remove_prefix(std::min(rest->find_first_not_of(kBlanks), rest->size()));
  const std::string_view word = rest->substr(0, rest->find_first_of(kBlanks));
  rest->remove_prefix(word.size());
  return word;
}

}  // namespace

StatusOr<TokenSet::Digest> TokenSet::ParseDigest(std::string_view hex) {
  Digest digest{};
  bool good = hex.size() == 2 * digest.size();
  for (size_t i = 0; good && i < digest.size(); ++i) {
    const char* const begin = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, digest[i], 16);
    good = error == std::errc() && end == begin + 2;
  }
  if (!good) {
    return InvalidArgument("the second word is not a SHA-256 in 64 hexadecimal digits");
  }
  return digest;
}

Status TokenSet::AddLine(std::string_view line, const ClientLimits& defaults) {
  std::string_view rest = line;
  const std::string name(TakeWord(&rest));
  if (!IsSafeRequestId(name)) {
    return InvalidArgument("a name is 1 to 64 letters, digits, '.', '_' and '-'");
  }
  PRECIS_ASSIGN_OR_RETURN(const Digest digest, ParseDigest(TakeWord(&rest)));
  for (const Entry& entry : entries_) {
    if (entry.digest == digest) return InvalidArgument("the same SHA-256 stands on another line");
  }
  if (entries_.size() >= kMaxTokens) {
    return InvalidArgument(fmt::format("more than {} tokens", kMaxTokens));
  }
  // A carriage return at the end of the line is a blank, not a word.
  rest = rest.substr(0, rest.find_last_not_of(kBlanks) + 1);
  PRECIS_ASSIGN_OR_RETURN(const ClientLimits limits, ParseClientLimits(rest, defaults));
  const std::string key = "token:" + name;
  const auto known = std::find_if(clients_.begin(), clients_.end(),
                                  [&key](const Client& client) { return client.name == key; });
  if (known != clients_.end() && known->limits != limits) {
    return InvalidArgument("the same name stands on another line with other limits");
  }
  entries_.push_back({digest, static_cast<size_t>(known - clients_.begin())});
  if (known == clients_.end()) clients_.push_back({.name = key, .account = key, .limits = limits});
  return OkStatus();
}

StatusOr<TokenSet> TokenSet::Parse(std::string_view text, const std::string& path,
                                   const ClientLimits& defaults) {
  TokenSet set;
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto first = line.find_first_not_of(kBlanks);
    if (first == std::string_view::npos || line[first] == '#') continue;
    PRECIS_RETURN_IF_ERROR(
        Annotate(set.AddLine(line, defaults), fmt::format("{}:{}", path, number)));
  }
  if (set.entries_.empty()) {
    return InvalidArgument(fmt::format("{}: has no tokens; nobody could call", path));
  }
  return set;
}

const Client* TokenSet::Find(std::string_view token) const {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  // All are compared, each in constant time: what is known of the digests does not show in time.
  const Client* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) {
      found = &clients_[entry.client];
    }
  }
  return found;
}

}  // namespace precis
