#include "server/admission.h"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(Admission, RefusesBeyondItsRequestsAndGivesPlacesBack) {
  Admission admission({.max_requests = 2, .max_tokens = 100});
  auto a = admission.TryAdmit(1);
  auto b = admission.TryAdmit(1);
  ASSERT_TRUE(a.ok() && b.ok());
  const auto c = admission.TryAdmit(1);
  EXPECT_EQ(ReasonOf(c.status()), Reason::kQueueFull);
  a->Release();
  a->Release();  // idempotent
  EXPECT_EQ(admission.requests(), 1u);
  EXPECT_TRUE(admission.TryAdmit(1).ok());
}

TEST(Admission, CountsTokensAndLetsALargeRequestInAlone) {
  Admission admission({.max_requests = 10, .max_tokens = 100});
  {
    auto large = admission.TryAdmit(1000);
    ASSERT_TRUE(large.ok());
    EXPECT_FALSE(admission.TryAdmit(1).ok());
    large->SetTokens(50);
    EXPECT_TRUE(admission.TryAdmit(50).ok());
    EXPECT_FALSE(admission.TryAdmit(51).ok());
  }
  EXPECT_EQ(admission.tokens(), 0u);
}

TEST(Admission, AMovedPermitIsGivenBackOnce) {
  Admission admission({.max_requests = 1, .max_tokens = 100});
  auto a = admission.TryAdmit(7);
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
  auto taken = admission.TryAdmit(1);
  int woken = 0;
  int key = 0;
  EXPECT_FALSE(admission.AdmitOrWait(&key, [&woken] { ++woken; }).held());
  taken->Release();
  EXPECT_EQ(woken, 1);
  const AdmissionPermit permit = admission.AdmitOrWait(&key, [&woken] { ++woken; });
  EXPECT_TRUE(permit.held());
  int other = 0;
  EXPECT_FALSE(admission.AdmitOrWait(&other, [&woken] { ++woken; }).held());
  admission.Forget(&other);
}

TEST(Admission, WaitsUntilIdleAndNoLonger) {
  Admission admission({.max_requests = 4, .max_tokens = 100});
  auto permit = admission.TryAdmit(1);
  EXPECT_FALSE(admission.WaitIdle(std::chrono::milliseconds(5)));
  std::thread giver([&permit] { permit->Release(); });
  EXPECT_TRUE(admission.WaitIdle(std::chrono::seconds(30)));
  giver.join();
}

TEST(Admission, NeverHoldsMoreThanItsLimitUnderManyThreads) {
  Admission admission({.max_requests = 3, .max_tokens = 1000});
  std::atomic<int> held{0}, most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        auto permit = admission.TryAdmit(1);
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

}  // namespace
}  // namespace precis
