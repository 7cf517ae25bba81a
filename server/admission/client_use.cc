#include "server/admission/client_use.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>

namespace precis {
namespace {

constexpr double kSecondsOfBurst = 10;
// Past this, idle accounts are forgotten, and if that does not help newcomers share one account: an
// attacker with many addresses costs us no more memory than that.
constexpr size_t kMaxAccounts = 16384;
constexpr char kOthers[] = "others";

}  // namespace

double ClientUse::Most() const {
  if (limits_.burst != 0) return static_cast<double>(limits_.burst);
  return kSecondsOfBurst * static_cast<double>(limits_.tokens_per_second);
}

void ClientUse::Update(const ClientLimits& limits, TimePoint now) {
  const bool had_rate = limits_.tokens_per_second != 0;
  // The time gone by counts at the rate that held.
  credit_ += Seconds(now - as_of_) * static_cast<double>(limits_.tokens_per_second);
  as_of_ = now;
  limits_ = limits;
  // Who is new, or had no rate, owes nothing.
  credit_ = had_rate ? std::min(credit_, Most()) : Most();
}

Duration ClientUse::UntilCredit() const {
  if (limits_.tokens_per_second == 0 || credit_ >= 1) return Duration(0);
  const double seconds = (1 - credit_) / static_cast<double>(limits_.tokens_per_second);
  return Duration(std::llround(std::min(seconds, 1e9) * 1e9) + 1);
}

bool ClientUse::IsIdle(TimePoint now) {
  Update(limits_, now);
  return requests_ == 0 && credit_ >= Most();
}

ClientUse* ClientUses::Of(const Client& client, TimePoint now) {
  if (client.name.empty() && !client.limits.counts()) return nullptr;
  auto place = uses_.find(client.account);
  if (place == uses_.end() && uses_.size() >= kMaxAccounts) {
    // Not at every call: it walks through all of them.
    if (now - swept_ >= std::chrono::seconds(1)) {
      swept_ = now;
      for (auto it = uses_.begin(); it != uses_.end();) {
        it = it->second.IsIdle(now) ? uses_.erase(it) : std::next(it);
      }
    }
    if (uses_.size() >= kMaxAccounts) place = uses_.try_emplace(kOthers).first;
  }
  if (place == uses_.end()) place = uses_.try_emplace(client.account).first;
  place->second.Update(client.limits, now);
  return &place->second;
}

std::vector<ClientCount> ClientUses::UnderWay() const {
  std::vector<ClientCount> out;
  for (const auto& [account, use] : uses_) {
    if (use.requests() > 0) out.push_back({.account = account, .requests = use.requests()});
  }
  std::sort(out.begin(), out.end(),
            [](const ClientCount& a, const ClientCount& b) { return a.account < b.account; });
  return out;
}

}  // namespace precis
