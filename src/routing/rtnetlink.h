#pragma once

#include <optional>

#include "routing/database.h"
#include "routing/neighbours.h"

struct nlmsghdr;

namespace weir::routing {

/// What rtnetlink messages mean. Each takes a whole message of its kind and answers nothing when it
/// is malformed or about something that weir doesn't mirror (other families, cached routes,
/// proxies).

std::optional<Link> read_link(const nlmsghdr& message);
std::optional<InterfaceAddress> read_address(const nlmsghdr& message);
std::optional<PolicyRule> read_rule(const nlmsghdr& message);
std::optional<RouteEntry> read_route(const nlmsghdr& message);
std::optional<NextHopObject> read_next_hop(const nlmsghdr& message);

struct NeighbourChange {
  NeighbourKey key;
  NeighbourState state = NeighbourState::none;
  Mac mac{};
};
std::optional<NeighbourChange> read_neighbour(const nlmsghdr& message);

/// Where a notified route goes among those of equal rank.
Database::Place place_of(const nlmsghdr& message, wire::Family family);

}  // namespace weir::routing
