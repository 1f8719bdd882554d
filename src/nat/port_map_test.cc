#include "nat/port_map.h"

#include <gtest/gtest.h>

#include <memory>

#include "nat/choose.h"
#include "wire/protocol.h"

namespace weir::nat {
namespace {

using conntrack::Tuple;

constexpr std::uint32_t kFirst = 1024;
constexpr std::uint32_t kCount = 64512;

std::unique_ptr<PortMap> empty_map() {
  auto map = std::make_unique<PortMap>();
  map->clear_all();
  return map;
}

TEST(PortMap, NextFreePassesOverTheMarked) {
  const auto map = empty_map();
  for (std::uint16_t port = 2000; port < 2200; ++port) map->mark(port);
  EXPECT_EQ(map->next_free(1999, kFirst, kCount), 1999);
  EXPECT_EQ(map->next_free(2000, kFirst, kCount), 2200);
  map->clear(2130);
  EXPECT_EQ(map->next_free(2000, kFirst, kCount), 2130);
}

TEST(PortMap, GoesRoundAtTheEndOfTheRange) {
  const auto map = empty_map();
  for (std::uint32_t port = 40000; port <= 40099; ++port)
    map->mark(static_cast<std::uint16_t>(port));
  map->clear(40003);
  EXPECT_EQ(map->next_free(40050, 40000, 100), 40003);
  map->mark(40003);
  EXPECT_EQ(map->next_free(40050, 40000, 100), std::nullopt);  // Though 40100 is free.
}

TEST(PortMap, LastPort) {
  const auto map = empty_map();
  for (std::uint32_t port = kFirst; port < 65535; ++port)
    map->mark(static_cast<std::uint16_t>(port));
  EXPECT_EQ(map->next_free(1024, kFirst, kCount), 65535);
  map->mark(65535);
  EXPECT_EQ(map->next_free(65535, kFirst, kCount), std::nullopt);
}

Tuple reply(std::uint32_t server, std::uint16_t port) {
  Tuple t;
  t.family = wire::Family::ip;
  t.protocol = wire::protocol::kUdp;
  t.src = wire::Address::ip(server);
  t.src_port = Be16::from_host(53);
  t.dst = wire::Address::ip(0xcb007101);
  t.dst_port = Be16::from_host(port);
  return t;
}

const Time kNow{std::chrono::seconds(1000)};

TEST(PortMaps, OnePerPool) {
  PortMaps maps(std::move(*PortMaps::reserve()), HashKey{1, 2});
  EXPECT_EQ(maps.find(reply(1, 5000), kNow), nullptr);
  PortMap* const map = maps.open(reply(1, 5000), kNow);
  ASSERT_NE(map, nullptr);
  EXPECT_EQ(maps.find(reply(1, 6000), kNow), map);  // Another port of the pool.
  EXPECT_EQ(maps.open(reply(1, 6000), kNow), map);
  EXPECT_EQ(maps.find(reply(2, 5000), kNow), nullptr);
}

TEST(PortMaps, FreedPortsAreUnmarked) {
  PortMaps maps(std::move(*PortMaps::reserve()), HashKey{1, 2});
  PortMap* const map = maps.open(reply(1, 5000), kNow);
  map->mark(5000);
  maps.freed(reply(2, 5000));
  EXPECT_TRUE(map->is_marked(5000));
  maps.freed(reply(1, 5000));
  EXPECT_FALSE(map->is_marked(5000));
}

TEST(PortMaps, ANewPoolTakesTheOldestMapAndFindsItEmpty) {
  PortMaps maps(std::move(*PortMaps::reserve()), HashKey{1, 2});
  Time now = kNow;
  for (std::uint32_t server = 1; server <= 10 * PortMaps::kMaps; ++server) {
    now += std::chrono::seconds(1);
    PortMap* const map = maps.open(reply(server, 5000), now);
    ASSERT_NE(map, nullptr);
    ASSERT_FALSE(map->is_marked(5000));
    map->mark(5000);
  }
  EXPECT_EQ(maps.find(reply(1, 5000), now), nullptr);
  EXPECT_NE(maps.find(reply(10 * PortMaps::kMaps, 5000), now), nullptr);
}

/// Takes note of what is taken, and counts what it is asked.
class Pool final : public Claims {
 public:
  Pool() : maps_(std::move(*PortMaps::reserve()), HashKey{1, 2}), taken_(65536) {}

  bool claim(const Tuple& reply, bool) override {
    ++claims;
    std::vector<bool>::reference is_taken = taken_[reply.dst_port.host()];
    if (is_taken) return false;
    return is_taken = true;
  }
  bool is_taken(const Tuple& reply) override { return taken_[reply.dst_port.host()]; }
  PortMap* ports(const Tuple& reply, bool open) override {
    return open ? maps_.open(reply, kNow) : maps_.find(reply, kNow);
  }
  std::uint16_t random() override {
    return static_cast<std::uint16_t>(siphash13<1>(HashKey{5, 6}, {++draws_}));
  }
  void free(std::uint16_t port) {
    taken_[port] = false;
    maps_.freed(reply(1, port));
  }
  void free_silently(std::uint16_t port) { taken_[port] = false; }
  bool take_one() {
    Tuple t = reply(1, 5000);
    return choose(t, Manip::src, Range::to(t.dst), *this);
  }

  unsigned claims = 0;

 private:
  PortMaps maps_;
  std::vector<bool> taken_;
  std::uint64_t draws_ = 0;
};

// The claims are what a search costs: each is a look into the shared index.
TEST(PortMaps, ANearlyFullPoolCostsLittleMoreThanAnEmptyOne) {
  Pool pool;
  for (std::uint32_t i = 0; i < kCount * 99 / 100; ++i) ASSERT_TRUE(pool.take_one()) << i;

  std::uint64_t chance = 1;
  pool.claims = 0;
  constexpr unsigned kRounds = 20000;
  for (unsigned i = 0; i < kRounds; ++i) {
    chance = chance * 6364136223846793005 + 1442695040888963407;
    pool.free(static_cast<std::uint16_t>(kFirst + (chance >> 33) % kCount));
    ASSERT_TRUE(pool.take_one()) << i;
  }
  // One for the port that the client came with, one for the port that it got; the map still learns.
  EXPECT_LE(pool.claims, kRounds * 5 / 2);
}

TEST(PortMaps, TheLastPortIsFound) {
  Pool pool;
  for (std::uint32_t i = 0; i < kCount; ++i) ASSERT_TRUE(pool.take_one()) << i;
  pool.claims = 0;
  EXPECT_FALSE(pool.take_one());
  EXPECT_LE(pool.claims, 33U);  // A full pool isn't swept.
  pool.free(7777);
  EXPECT_TRUE(pool.take_one());
  EXPECT_TRUE(pool.is_taken(reply(1, 7777)));
}

TEST(PortMaps, PortsThatWereFreedSilentlyComeBack) {
  Pool pool;
  for (std::uint32_t i = 0; i < kCount; ++i) ASSERT_TRUE(pool.take_one());
  for (std::uint32_t port = 20000; port < 60000; ++port)
    pool.free_silently(static_cast<std::uint16_t>(port));
  for (unsigned i = 0; i < 1000; ++i) ASSERT_TRUE(pool.take_one()) << i;
}

}  // namespace
}  // namespace weir::nat
