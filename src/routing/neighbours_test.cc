#include "routing/neighbours.h"

#include <gtest/gtest.h>

#include <thread>

namespace weir::routing {
namespace {

using namespace std::chrono_literals;
using Status = Neighbour::Status;

constexpr Mac kMac = {2, 0, 0, 0, 0, 9};
const Time kStart{100s};

NeighbourKey key(std::uint32_t number) {
  return {.ifindex = 3, .family = wire::Family::ip, .address = wire::Address::ip(number)};
}

std::size_t questions(Neighbours& neighbours) {
  std::size_t count = 0;
  NeighbourKey asked;
  while (neighbours.take_question(asked)) ++count;
  return count;
}

TEST(Neighbours, AsksOnceASecondForAnUnknownOne) {
  Neighbours neighbours;
  EXPECT_EQ(neighbours.resolve(key(1), kStart).status, Status::unknown);
  EXPECT_EQ(neighbours.resolve(key(1), kStart + 500ms).status, Status::unknown);
  EXPECT_EQ(questions(neighbours), 1u);
  neighbours.resolve(key(1), kStart + 1s);
  EXPECT_EQ(questions(neighbours), 1u);
}

TEST(Neighbours, UsesAStaleOneAndHasItConfirmedAtABoundedRate) {
  Neighbours neighbours;
  neighbours.set(key(1), NeighbourState::stale, kMac);
  for (int i = 0; i < 100; ++i) {
    const Neighbour found = neighbours.resolve(key(1), kStart + i * 10ms);
    EXPECT_EQ(found.status, Status::resolved);
    EXPECT_EQ(found.mac, kMac);
  }
  EXPECT_EQ(questions(neighbours), 1u);
  neighbours.set(key(1), NeighbourState::reachable, kMac);
  neighbours.resolve(key(1), kStart + 60s);
  EXPECT_EQ(questions(neighbours), 0u);
}

TEST(Neighbours, AFailedOneThatIsWantedAgainIsAskedAgain) {
  Neighbours neighbours;
  neighbours.set(key(1), NeighbourState::failed, {});
  EXPECT_EQ(neighbours.find(key(1)).status, Status::failed);
  EXPECT_EQ(neighbours.resolve(key(1), kStart).status, Status::unknown);
  EXPECT_EQ(neighbours.find(key(1)).status, Status::unknown);
  neighbours.set(key(1), NeighbourState::failed, {});
  EXPECT_EQ(neighbours.resolve(key(1), kStart + 500ms).status, Status::failed);
  EXPECT_EQ(questions(neighbours), 1u);
}

TEST(Neighbours, GrowsAndForgets) {
  Neighbours neighbours;
  for (std::uint32_t i = 0; i < 5000; ++i) neighbours.set(key(i), NeighbourState::permanent, kMac);
  for (std::uint32_t i = 0; i < 5000; ++i)
    ASSERT_EQ(neighbours.find(key(i)).status, Status::resolved) << i;
  EXPECT_EQ(neighbours.size(), 5000u);
  const std::uint64_t version = neighbours.version();
  neighbours.remove(key(17));
  EXPECT_NE(neighbours.version(), version);
  EXPECT_EQ(neighbours.find(key(17)).status, Status::unknown);
  neighbours.remove_link(3);
  EXPECT_EQ(neighbours.size(), 0u);
}

TEST(Neighbours, WorkersReadAndAskWhileEntriesComeAndGo) {
  Epochs epochs(2);
  Neighbours neighbours(&epochs);
  std::atomic<bool> stop{false};
  std::vector<std::jthread> workers;
  for (std::size_t worker = 0; worker < 2; ++worker) {
    workers.emplace_back([&, worker] {
      epochs.online(worker);
      for (std::uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        const Neighbour found = neighbours.resolve(key(i % 700), kStart + i * 1us);
        if (found.status == Status::resolved) {
          EXPECT_EQ(found.mac, kMac);
        }
        if (i % 64 == 0) epochs.quiet(worker);
      }
      epochs.offline(worker);
    });
  }
  for (std::uint32_t round = 0; round < 60; ++round) {
    for (std::uint32_t i = 0; i < 700; ++i) {
      if ((i + round) % 3 == 0) {
        neighbours.remove(key(i));
      } else {
        neighbours.set(key(i), NeighbourState::reachable, kMac);
      }
    }
    questions(neighbours);
    neighbours.collect();
  }
  stop = true;
}

TEST(RecentNeighbours, AnswerWhatTheTableSaysNow) {
  Neighbours neighbours;
  RecentNeighbours recent;
  EXPECT_EQ(recent.resolve(neighbours, key(1), kStart).status, Status::unknown);

  for (const std::uint8_t last : {1, 2}) {
    neighbours.set(key(1), NeighbourState::reachable, {2, 0, 0, 0, 0, last});
    for (int i = 0; i < 2; ++i) EXPECT_EQ(recent.resolve(neighbours, key(1), kStart).mac[5], last);
  }
  NeighbourKey on_other_link = key(1);
  ++on_other_link.ifindex;
  EXPECT_EQ(recent.resolve(neighbours, on_other_link, kStart).status, Status::unknown);
  neighbours.remove(key(1));
  EXPECT_EQ(recent.resolve(neighbours, key(1), kStart).status, Status::unknown);
}

TEST(RecentNeighbours, AStaleOneIsAskedAboutAsEver) {
  Neighbours neighbours;
  RecentNeighbours recent;
  neighbours.set(key(1), NeighbourState::stale, kMac);
  for (const Time now : {kStart, kStart + 10s}) {
    EXPECT_EQ(recent.resolve(neighbours, key(1), now).mac, kMac);
    EXPECT_EQ(questions(neighbours), 1u);
  }
}

}  // namespace
}  // namespace weir::routing
