#include "server/admission/admission.h"

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/observe/errors.h"

namespace precis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Client kAnybody;

Client ClientOf(const std::string& name, const std::string& limits) {
  return {.name = name, .account = name, .limits = *ParseClientLimits(limits, {})};
}

class FakeClock final : public Clock {
 public:
  TimePoint Now() const override { return now; }
  TimePoint now{seconds(1000)};
};

// How long a refusal says to wait; 0 when it was none.
double RetrySeconds(const Status& status) {
  const google::rpc::Status rpc = ToRpcStatus(status);
  for (const auto& any : rpc.details()) {
    google::rpc::RetryInfo retry;
    if (!any.UnpackTo(&retry)) continue;
    return static_cast<double>(retry.retry_delay().seconds()) + retry.retry_delay().nanos() * 1e-9;
  }
  return 0;
}

TEST(Admission, RefusesBeyondItsRequestsAndGivesPlacesBack) {
  Admission admission({.max_requests = 2, .max_tokens = 100});
  auto a = admission.TryAdmit(kAnybody, 1);
  auto b = admission.TryAdmit(kAnybody, 1);
  ASSERT_TRUE(a.ok() && b.ok());
  const auto c = admission.TryAdmit(kAnybody, 1);
  EXPECT_EQ(ReasonOf(c.status()), Reason::kQueueFull);
  a->Release();
  a->Release();  // idempotent
  EXPECT_EQ(admission.requests(), 1u);
  EXPECT_TRUE(admission.TryAdmit(kAnybody, 1).ok());
}

TEST(Admission, CountsTokensAndLetsALargeRequestInAlone) {
  Admission admission({.max_requests = 10, .max_tokens = 100});
  {
    auto large = admission.TryAdmit(kAnybody, 1000);
    ASSERT_TRUE(large.ok());
    EXPECT_FALSE(admission.TryAdmit(kAnybody, 1).ok());
    large->SetTokens(50);
    EXPECT_TRUE(admission.TryAdmit(kAnybody, 50).ok());
    EXPECT_FALSE(admission.TryAdmit(kAnybody, 51).ok());
  }
  EXPECT_EQ(admission.tokens(), 0u);
}

TEST(Admission, AMovedPermitIsGivenBackOnce) {
  Admission admission({.max_requests = 1, .max_tokens = 100});
  auto a = admission.TryAdmit(kAnybody, 7);
  AdmissionPermit b = *std::move(a);
  AdmissionPermit c;
  c = std::move(b);
  EXPECT_EQ(admission.requests(), 1u);
  c = AdmissionPermit();
  EXPECT_EQ(admission.requests(), 0u);
  EXPECT_EQ(admission.tokens(), 0u);
}

TEST(Admission, WakesAWaiterWhenThereIsRoom) {
  Admission admission({.max_requests = 1, .max_tokens = 100});
  auto taken = admission.TryAdmit(kAnybody, 1);
  int woken = 0;
  int key = 0;
  Duration wait{0};
  EXPECT_FALSE(admission
                   .AdmitOrWait(
                       kAnybody, &key, [&woken] { ++woken; }, &wait)
                   .held());
  taken->Release();
  EXPECT_EQ(woken, 1);
  const AdmissionPermit permit = admission.AdmitOrWait(
      kAnybody, &key, [&woken] { ++woken; }, &wait);
  EXPECT_TRUE(permit.held());
  int other = 0;
  EXPECT_FALSE(admission
                   .AdmitOrWait(
                       kAnybody, &other, [&woken] { ++woken; }, &wait)
                   .held());
  admission.Forget(&other);
}

TEST(Admission, WaitsUntilIdleAndNoLonger) {
  Admission admission({.max_requests = 4, .max_tokens = 100});
  auto permit = admission.TryAdmit(kAnybody, 1);
  EXPECT_FALSE(admission.WaitIdle(std::chrono::milliseconds(5)));
  std::thread giver([&permit] { permit->Release(); });
  EXPECT_TRUE(admission.WaitIdle(std::chrono::seconds(30)));
  giver.join();
}

TEST(Admission, AFreedPlaceIsForOthersAndAnEndStillWaitsForItsReply) {
  Admission admission({.max_requests = 1, .max_tokens = 100});
  auto permit = admission.TryAdmit(kAnybody, 7);
  ASSERT_TRUE(permit.ok());
  permit->FreePlace();
  permit->FreePlace();  // idempotent
  EXPECT_EQ(admission.requests(), 0u);
  EXPECT_EQ(admission.tokens(), 0u);
  EXPECT_TRUE(admission.TryAdmit(kAnybody, 1).ok());
  AdmissionPermit moved = *std::move(permit);
  moved.SetTokens(50);
  EXPECT_EQ(admission.tokens(), 0u) << "it counts no more";
  EXPECT_FALSE(admission.WaitIdle(std::chrono::milliseconds(5)));
  moved.Release();
  EXPECT_TRUE(admission.WaitIdle(std::chrono::seconds(30)));
}

TEST(Admission, AskingForRoomTakesNone) {
  Admission admission({.max_requests = 1, .max_tokens = 100});
  int woken = 0;
  int key = 0;
  Duration wait{0};
  const auto wake = [&woken] { ++woken; };
  EXPECT_TRUE(admission.HasRoomOrWait(kAnybody, &key, wake, &wait));
  EXPECT_EQ(admission.requests(), 0u);
  auto taken = admission.TryAdmit(kAnybody, 1);
  EXPECT_FALSE(admission.HasRoomOrWait(kAnybody, &key, wake, &wait));
  taken->FreePlace();
  EXPECT_EQ(woken, 1) << "a freed place is room";
  EXPECT_TRUE(admission.HasRoomOrWait(kAnybody, &key, wake, &wait));
}

TEST(Admission, NeverHoldsMoreThanItsLimitUnderManyThreads) {
  Admission admission({.max_requests = 3, .max_tokens = 1000});
  std::atomic<int> held{0}, most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        auto permit = admission.TryAdmit(kAnybody, 1);
        if (!permit.ok()) continue;
        const int now = ++held;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        --held;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most.load(), 3);
  EXPECT_EQ(admission.requests(), 0u);
}

TEST(Quota, AClientHasItsOwnNumberOfRequestsAndItsNeighboursDoNotMind) {
  Admission admission({.max_requests = 10, .max_tokens = 100});
  const Client a = ClientOf("a", "requests=1"), b = ClientOf("b", "requests=1");
  auto first = admission.TryAdmit(a, 1);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(ReasonOf(admission.TryAdmit(a, 1).status()), Reason::kQuota);
  EXPECT_TRUE(admission.TryAdmit(b, 1).ok());
  EXPECT_TRUE(admission.TryAdmit(kAnybody, 1).ok());
  const auto counts = admission.ClientsUnderWay();
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts[0].account, "a");
  EXPECT_EQ(counts[0].requests, 1u);
  first->Release();
  EXPECT_TRUE(admission.TryAdmit(a, 1).ok());
}

TEST(Quota, ARateLetsACostThroughAndThenSaysHowLongItTakes) {
  FakeClock clock;
  Admission admission({.max_requests = 10, .max_tokens = 1u << 20}, &clock);
  const Client client = ClientOf("a", "tokens-per-second=100 burst=500");
  EXPECT_TRUE(admission.TryAdmit(client, 400).ok());
  EXPECT_TRUE(admission.TryAdmit(client, 400).ok()) << "100 were left: enough to begin";
  const auto refused = admission.TryAdmit(client, 1);
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kQuota);
  EXPECT_NEAR(RetrySeconds(refused.status()), 3.01, 0.002) << "from -300 to 1";
  clock.now += milliseconds(3000);
  EXPECT_FALSE(admission.TryAdmit(client, 1).ok());
  clock.now += milliseconds(11);
  EXPECT_TRUE(admission.TryAdmit(client, 1).ok());
}

TEST(Quota, CreditIsSavedUpToTheBurstAndNoFurther) {
  FakeClock clock;
  Admission admission({.max_requests = 10, .max_tokens = 1u << 20}, &clock);
  const Client client = ClientOf("a", "tokens-per-second=100 burst=500");
  EXPECT_TRUE(admission.TryAdmit(client, 1).ok());
  clock.now += seconds(3600);
  EXPECT_TRUE(admission.TryAdmit(client, 500).ok());
  EXPECT_FALSE(admission.TryAdmit(client, 1).ok());
}

TEST(Quota, ACostKnownBetterIsSettled) {
  FakeClock clock;
  Admission admission({.max_requests = 10, .max_tokens = 1u << 20}, &clock);
  const Client client = ClientOf("a", "tokens-per-second=10 burst=100");
  auto permit = admission.TryAdmit(client, 100);
  ASSERT_TRUE(permit.ok());
  EXPECT_FALSE(admission.TryAdmit(client, 1).ok());
  permit->SetTokens(60);
  EXPECT_TRUE(admission.TryAdmit(client, 1).ok());
}

TEST(Quota, AFullQueueCostsAClientNothing) {
  FakeClock clock;
  Admission admission({.max_requests = 1, .max_tokens = 1u << 20}, &clock);
  const Client client = ClientOf("a", "tokens-per-second=10 burst=100");
  auto other = admission.TryAdmit(kAnybody, 1);
  EXPECT_EQ(ReasonOf(admission.TryAdmit(client, 100).status()), Reason::kQueueFull);
  other->Release();
  EXPECT_TRUE(admission.TryAdmit(client, 100).ok());
}

TEST(Quota, ABulkStreamWaitsForItsCreditAndHoldsNoPlaceMeanwhile) {
  FakeClock clock;
  Admission admission({.max_requests = 2, .max_tokens = 1u << 20}, &clock);
  const Client client = ClientOf("a", "requests=1 tokens-per-second=10 burst=100");
  int key = 0, woken = 0;
  Duration wait{0};
  const auto wake = [&woken] { ++woken; };
  AdmissionPermit permit = admission.AdmitOrWait(client, &key, wake, &wait);
  ASSERT_TRUE(permit.held());
  EXPECT_FALSE(admission.AdmitOrWait(client, &key, wake, &wait).held()) << "one request at once";
  EXPECT_EQ(wait.count(), 0) << "it will be woken";
  permit.SetTokens(149);
  permit.Release();
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(admission.requests(), 0u);
  EXPECT_FALSE(admission.AdmitOrWait(client, &key, wake, &wait).held());
  EXPECT_NEAR(Seconds(wait), 5.0, 0.01);
  clock.now += wait;
  EXPECT_TRUE(admission.AdmitOrWait(client, &key, wake, &wait).held());
}

TEST(Quota, LimitsThatChangeHoldAtOnce) {
  FakeClock clock;
  Admission admission({.max_requests = 10, .max_tokens = 1u << 20}, &clock);
  EXPECT_TRUE(admission.TryAdmit(ClientOf("a", ""), 1000).ok());
  EXPECT_TRUE(admission.TryAdmit(ClientOf("a", "tokens-per-second=10 burst=50"), 50).ok());
  EXPECT_FALSE(admission.TryAdmit(ClientOf("a", "tokens-per-second=10 burst=50"), 1).ok());
  EXPECT_TRUE(admission.TryAdmit(ClientOf("a", ""), 1000).ok());
}

// Addresses that come and go: memory is bounded, and those that owe are not forgotten.
TEST(Quota, RemembersABoundedNumberOfAccounts) {
  ClientUses uses;
  TimePoint now{seconds(1000)};
  Client debtor = ClientOf("debtor", "tokens-per-second=1 burst=10");
  uses.Of(debtor, now)->Charge(0, 1'000'000);
  for (int i = 0; i < 100'000; ++i) {
    Client client = ClientOf("", "tokens-per-second=1 burst=10");
    client.account = std::to_string(i);
    now += milliseconds(1);
    ASSERT_NE(uses.Of(client, now), nullptr);
  }
  EXPECT_LE(uses.size(), 16385u);
  EXPECT_GT(uses.Of(debtor, now)->UntilCredit().count(), 0);
}

TEST(ClientLimits, ReadBackWhatTheyPrint) {
  const std::string words =
      "requests=8 tokens-per-second=2000 burst=9000 max-priority=low max-timeout=30s";
  const auto limits = ParseClientLimits(words, {});
  ASSERT_TRUE(limits.ok()) << limits.status();
  EXPECT_EQ(FormatClientLimits(*limits), words);
  EXPECT_EQ(FormatClientLimits({}), "");
  const auto more = ParseClientLimits("  requests=9\t", *limits);
  EXPECT_EQ(more->requests, 9u);
  EXPECT_EQ(more->burst, 9000u) << "what is not said stays";
  for (const char* bad : {"requests", "requests=0", "requests=-1", "requests=x", "speed=3",
                          "burst=5", "requests=1 requests=2", "max-priority=top"}) {
    EXPECT_FALSE(ParseClientLimits(bad, {}).ok()) << bad;
  }
}

}  // namespace
}  // namespace precis
