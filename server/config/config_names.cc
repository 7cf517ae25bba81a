#include "server/config/config_names.h"

#include <algorithm>
#include <cctype>

#include "common/nearest.h"
#include "fmt/format.h"

namespace precis {
namespace {

// What other servers call it, or what it was called here.
struct OtherName {
  std::string_view other;
  std::string_view ours;
};
constexpr OtherName kOtherNames[] = {
    {"address", "listen"},
    {"api-key", "auth-tokens"},
    {"backend", "device"},
    {"batch-size", "max-batch"},
    {"bind", "listen"},
    {"config-file", "config"},
    {"cpu-threads", "threads"},
    {"gpu-memory-utilization", "pool-bytes"},
    {"host", "listen"},
    {"kv-cache-dtype", "kv-dtype"},
    {"max-concurrent-requests", "max-queue"},
    {"max-input-length", "max-source-tokens"},
    {"max-input-tokens", "max-source-tokens"},
    {"max-model-len", "max-source-tokens"},
    {"max-num-seqs", "max-batch"},
    {"metrics-port", "metrics-listen"},
    {"model-dir", "model"},
    {"model-id", "model"},
    {"model-name", "served-model-name"},
    {"model-path", "model"},
    {"num-threads", "threads"},
    {"port", "listen"},
    {"quantization", "dtype"},
    {"ssl-certfile", "tls-cert"},
    {"ssl-keyfile", "tls-key"},
    {"verbose", "log-level"},
};

std::string KeyOf(std::string_view name) {
  if (name.starts_with("PRECIS_")) name.remove_prefix(7);
  while (name.starts_with('-')) name.remove_prefix(1);
  std::string key(name);
  for (char& c : key) {
    c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return key;
}

}  // namespace

std::string DidYouMeanOption(std::string_view typed, std::span<const std::string> names) {
  const auto* other = std::ranges::find(kOtherNames, KeyOf(typed), &OtherName::other);
  if (other != std::end(kOtherNames)) {
    for (const std::string& name : names) {
      if (KeyOf(name) == other->ours) return fmt::format("; did you mean {}?", name);
    }
  }
  return DidYouMean(typed, names);
}

}  // namespace precis
