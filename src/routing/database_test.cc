#include "routing/database.h"

#include <gtest/gtest.h>
#include <net/if.h>

#include <thread>

namespace weir::routing {
namespace {

using wire::Family;

constexpr std::uint32_t kLan = 2;
constexpr std::uint32_t kWan = 3;

wire::Address at(const char* text) { return wire::parse_address(text)->address; }

RouteEntry route(const char* destination, std::uint32_t ifindex, const char* gateway = nullptr) {
  RouteEntry entry;
  entry.destination = *wire::parse_prefix(destination);
  NextHop hop{.ifindex = ifindex};
  if (gateway != nullptr) {
    hop.gateway = at(gateway);
    hop.gateway_family = wire::parse_address(gateway)->family;
  }
  entry.next_hops.push_back(hop);
  return entry;
}

/// A router with two links, filled by hand as replay does.
void fill(Database& database) {
  database.add_default_rules();
  for (const auto& [ifindex, name] : {std::pair{kLan, "lan"}, std::pair{kWan, "wan"}}) {
    Link link{.ifindex = ifindex, .name = name, .flags = IFF_UP, .mtu = 1500};
    database.set(link);
  }
  database.add(route("10.0.0.0/8", kLan));
  database.add(route("0.0.0.0/0", kWan, "192.0.2.1"));
  database.publish();
}

TEST(Database, WorksWithoutAKernel) {
  Database database;
  fill(database);
  const Route inside = database.view().lookup({.family = Family::ip, .dst = at("10.1.2.3")});
  EXPECT_EQ(inside.out_ifindex, kLan);
  EXPECT_EQ(inside.next_hop, at("10.1.2.3"));
  EXPECT_EQ(inside.mtu, 1500u);
  const Route outside = database.view().lookup({.family = Family::ip, .dst = at("8.8.8.8")});
  EXPECT_EQ(outside.out_ifindex, kWan);
  EXPECT_EQ(outside.next_hop, at("192.0.2.1"));
  EXPECT_FALSE(database.view().lookup({.family = Family::ip6, .dst = at("fd00::1")}).is_found());
}

TEST(Database, FallsBackWhenTheBetterWayIsDown) {
  Database database;
  fill(database);
  RouteEntry backup = route("0.0.0.0/0", kLan, "10.0.0.254");
  backup.priority = 100;
  database.add(backup);
  Link wan = database.links().at(kWan);
  wan.flags = 0;
  database.set(wan);
  database.publish();
  const Route found = database.view().lookup({.family = Family::ip, .dst = at("8.8.8.8")});
  EXPECT_EQ(found.next_hop, at("10.0.0.254"));
}

TEST(Database, ReplaceAllLeavesExactlyWhatIsGiven) {
  Database database;
  fill(database);
  database.replace_all(Family::ip, {route("0.0.0.0/0", kLan), route("172.16.0.0/12", kWan)});
  EXPECT_EQ(database.route_count(), 2u);
  EXPECT_EQ(database.routes(Family::ip).size(), 2u);
  const Route moved = database.view().lookup({.family = Family::ip, .dst = at("10.1.2.3")});
  EXPECT_EQ(moved.out_ifindex, kLan);
  EXPECT_EQ(moved.prefix_length, 0);
}

TEST(Database, WorkersLookUpWhileRoutesFlap) {
  Epochs epochs(2);
  Database database(&epochs);
  fill(database);
  std::atomic<bool> stop{false};
  std::vector<std::jthread> workers;
  for (std::size_t worker = 0; worker < 2; ++worker) {
    workers.emplace_back([&, worker] {
      epochs.online(worker);
      for (std::uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        const FlowKey key{.family = Family::ip, .dst = wire::Address::ip(0x0a000000u + i % 65536)};
        const Route found = database.view().lookup(key);
        // The /8 is always there; what flaps below it leads the other way.
        EXPECT_TRUE(found.out_ifindex == (found.prefix_length == 8 ? kLan : kWan));
        if (i % 64 == 0) epochs.quiet(worker);
      }
      epochs.offline(worker);
    });
  }
  for (std::uint32_t round = 0; round < 40; ++round) {
    for (std::uint32_t i = 0; i < 256; ++i) {
      RouteEntry flapping = route("10.0.0.0/24", kWan);
      flapping.destination.address = wire::Address::ip(0x0a000000u + (i << 8));
      round % 2 == 0 ? database.add(flapping) : database.remove(flapping);
    }
    Link lan = database.links().at(kLan);
    lan.group = round;
    database.set(lan);
    database.publish();
  }
  stop = true;
}

}  // namespace
}  // namespace weir::routing
