#include "common/bounded_queue.h"

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(BoundedQueue, GivesItemsInOrder) {
  BoundedQueue<int> queue(3);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue.TryPop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.TryPop(), std::nullopt);
}

TEST(BoundedQueue, FullIsAnAnswerAndLeavesTheValueWithItsOwner) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);  // NOLINT(bugprone-use-after-move): the contract says untouched
  EXPECT_EQ(*second, 2);
  EXPECT_EQ(**queue.TryPop(), 1);
  EXPECT_TRUE(queue.TryPush(std::move(second)));
}

TEST(BoundedQueue, AClosedQueueTakesNothingAndGivesWhatItHas) {
  BoundedQueue<int> queue(4);
  queue.TryPush(1);
  queue.TryPush(2);
  queue.Close();
  EXPECT_FALSE(queue.TryPush(3));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueue, ClosingWakesAllWhoWait) {
  BoundedQueue<int> queue(1);
  std::atomic<int> empty = 0;
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] { empty += queue.Pop() == std::nullopt ? 1 : 0; });
  }
  queue.Close();
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(empty, 3);
}

TEST(BoundedQueue, PushingWakesOneWhoWaits) {
  BoundedQueue<int> queue(1);
  std::optional<int> popped;
  std::thread waiter([&] { popped = queue.Pop(); });
  EXPECT_TRUE(queue.TryPush(7));
  waiter.join();
  EXPECT_EQ(popped, 7);
}

TEST(BoundedQueue, ManyProducersAndConsumersLoseAndDoubleNothing) {
  constexpr int kThreads = 4;
  constexpr int kItems = 2000;  // of each producer
  BoundedQueue<int> queue(16);
  std::vector<std::atomic<int>> seen(kThreads * kItems);
  std::atomic<int> out_of_order = 0;
  std::vector<std::thread> consumers;
  for (int i = 0; i < kThreads; ++i) {
    consumers.emplace_back([&] {
      std::vector<int> last(kThreads, -1);  // of one consumer, items of a producer come in order
      while (const std::optional<int> item = queue.Pop()) {
        ++seen[static_cast<size_t>(*item)];
        int& previous = last[static_cast<size_t>(*item / kItems)];
        if (*item <= previous) ++out_of_order;
        previous = *item;
      }
    });
  }
  std::vector<std::thread> producers;
  for (int i = 0; i < kThreads; ++i) {
    producers.emplace_back([&queue, i] {
      for (int k = 0; k < kItems; ++k) {
        while (!queue.TryPush(i * kItems + k)) std::this_thread::yield();
      }
    });
  }
  for (std::thread& producer : producers) producer.join();
  queue.Close();
  for (std::thread& consumer : consumers) consumer.join();
  for (const std::atomic<int>& count : seen) ASSERT_EQ(count, 1);
  EXPECT_EQ(out_of_order, 0);
}

}  // namespace
}  // namespace precis
