#include "replay/network.h"

#include <gtest/gtest.h>

namespace weir::replay {
namespace {

Side side_of(const Sides& sides, std::string_view text) {
  const auto address = wire::parse_address(text);
  return sides.of(address->family, address->address);
}

TEST(Sides, WhatIsNeverRoutedOnTheInternetIsInside) {
  const Sides sides({});
  for (const char* const inside : {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.77.10",
                                   "100.64.0.1", "169.254.3.4", "fd00::1", "fe80::1"}) {
    EXPECT_EQ(side_of(sides, inside), Side::inside) << inside;
  }
  for (const char* const outside : {"9.255.255.255", "172.32.0.1", "192.169.0.1", "100.128.0.1",
                                    "203.0.113.9", "2001:db8::1"}) {
    EXPECT_EQ(side_of(sides, outside), Side::outside) << outside;
  }
}

TEST(Sides, GivenPrefixesAloneDecide) {
  const Sides sides(
      {*wire::parse_prefix("203.0.113.0/24"), *wire::parse_prefix("2001:db8:77::/48")});
  EXPECT_EQ(side_of(sides, "203.0.113.9"), Side::inside);
  EXPECT_EQ(side_of(sides, "2001:db8:77::10"), Side::inside);
  EXPECT_EQ(side_of(sides, "192.168.77.10"), Side::outside);
}

routing::InputDecision input(const routing::Database& routing, std::string_view src,
                             std::string_view dst, Side from) {
  const auto source = wire::parse_address(src);
  return routing.view().input({.family = source->family,
                               .dst = wire::parse_address(dst)->address,
                               .src = source->address,
                               .iif = ifindex_of(from)});
}

TEST(Network, RoutesInsideOutsideAndToItself) {
  Options options;
  options.outside_addresses.push_back(*wire::parse_address("198.51.100.7"));
  const Sides sides(
      {*wire::parse_prefix("192.168.77.0/24"), *wire::parse_prefix("2001:db8:77::/64")});
  routing::Database routing;
  build_network(options, sides, routing);
  using Action = routing::InputDecision::Action;

  const auto out = input(routing, "192.168.77.10", "203.0.113.9", Side::inside);
  EXPECT_EQ(out.action, Action::forward);
  EXPECT_EQ(out.route.out_ifindex, ifindex_of(Side::outside));
  const auto in = input(routing, "2001:db8:1::1", "2001:db8:77::10", Side::outside);
  EXPECT_EQ(in.action, Action::forward);
  EXPECT_EQ(in.route.out_ifindex, ifindex_of(Side::inside));
  EXPECT_EQ(input(routing, "203.0.113.9", "198.51.100.7", Side::outside).action, Action::local);
  EXPECT_EQ(input(routing, "2001:db8:1::1", "2001:db8:ffff::1", Side::outside).action,
            Action::local);
  // The address that was given stands in for the default one of its family.
  EXPECT_EQ(input(routing, "203.0.113.9", "192.0.2.1", Side::outside).action, Action::forward);
}

}  // namespace
}  // namespace weir::replay
