#include "routing/mirror.h"

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>
#include <vector>

#include "routing/rtnetlink.h"
#include "routing/rtnetlink_socket.h"
#include "routing/sysctl.h"

namespace weir::routing {

using wire::Family;

namespace {

using namespace std::chrono_literals;

constexpr int kReceiveBufferBytes = 16 * 1024 * 1024;
constexpr int kDatagramsAtOnce = 256;
constexpr int kQuestionsAtOnce = 256;
constexpr int kDumpAttempts = 5;
constexpr Duration kResyncPace = 500ms;
constexpr Duration kSettingsPace = 5s;

constexpr unsigned kGroups[] = {
    RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR,  RTNLGRP_IPV6_IFADDR,  RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,    RTNLGRP_IPV6_RULE,    RTNLGRP_NEIGH,
    RTNLGRP_NEXTHOP,    RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF,
};

/// What the listener will be told once the View is published.
struct Event {
  enum class What : std::uint8_t { address_gone, link_down, link_removed, link_changed, neighbour };
  What what;
  InterfaceAddress address{};
  Link link{};
  NeighbourKey key{};
  Neighbour neighbour{};
};

}  // namespace

struct Mirror::Impl {
  Impl(RtnetlinkSocket notifications_in, RtnetlinkSocket requests_in, Database& database_in,
       Neighbours& neighbours_in, MirrorListener* listener_in, NeighbourAsker* asker_in)
      : notifications(std::move(notifications_in)),
        requests(std::move(requests_in)),
        database(database_in),
        neighbours(neighbours_in),
        listener(listener_in),
        asker(asker_in) {}

  RtnetlinkSocket notifications;
  RtnetlinkSocket requests;
  Database& database;
  Neighbours& neighbours;
  MirrorListener* listener;
  NeighbourAsker* asker;
  std::vector<Event> events;
  bool wants_routes = false;  // Routes may have gone without a word.
  bool wants_settings = false;
  Time last_resync{};
  Time last_settings{};
  std::uint64_t overruns = 0;

  void apply(const nlmsghdr& message);
  void link_seen(const Link& link);
  void link_removed(const Link& link);
  void address_seen(const nlmsghdr& message, bool is_gone);
  void neighbour_seen(const nlmsghdr& message, bool is_gone);
  void read_settings();
  void finish();
  void tell(const Event& event);

  template <typename T, typename Read>
  Result<std::vector<T>> dump(std::uint16_t type, std::uint8_t family, Read read);
  Result<void> resync_links();
  Result<void> resync_addresses();
  Result<void> resync_rules();
  Result<void> resync_next_hops();
  Result<void> resync_routes();
  Result<void> resync_neighbours();
  Result<void> resync();
};

Mirror::Mirror(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mirror::~Mirror() = default;

Result<std::unique_ptr<Mirror>> Mirror::open(Database& database, Neighbours& neighbours,
                                             MirrorListener* listener, NeighbourAsker* asker) {
  auto notifications = RtnetlinkSocket::open();
  if (!notifications) return std::unexpected(notifications.error());
  auto requests = RtnetlinkSocket::open();
  if (!requests) return std::unexpected(requests.error());
  notifications->set_receive_buffer(kReceiveBufferBytes);
  for (const unsigned group : kGroups) {
    // Nexthop objects came with Linux 5.3; the others have always been there.
    if (!notifications->join(group) && group != RTNLGRP_NEXTHOP)
      return std::unexpected(system_error("subscribing to rtnetlink notifications"));
  }
  std::unique_ptr<Mirror> mirror(new Mirror(std::make_unique<Impl>(
      std::move(*notifications), std::move(*requests), database, neighbours, listener, asker)));
  if (const auto synced = mirror->resync(); !synced) return std::unexpected(synced.error());
  return mirror;
}

int Mirror::fd() const { return impl_->notifications.fd(); }
std::uint64_t Mirror::overruns() const { return impl_->overruns; }
Result<void> Mirror::resync() { return impl_->resync(); }

Result<void> Mirror::on_readable(Time) {
  const auto handle = [](void* impl, const nlmsghdr& message) {
    static_cast<Impl*>(impl)->apply(message);
  };
  for (int i = 0; i < kDatagramsAtOnce; ++i) {
    const auto got = impl_->notifications.receive(handle, impl_.get());
    if (!got && got.error().code == ENOBUFS) {
      ++impl_->overruns;
      return impl_->resync();
    }
    if (!got) return std::unexpected(got.error());
    if (!*got) break;
  }
  impl_->finish();
  return {};
}

Result<void> Mirror::tick(Time now) {
  NeighbourKey key;
  for (int i = 0; i < kQuestionsAtOnce && impl_->neighbours.take_question(key); ++i) {
    if (impl_->asker != nullptr) {
      impl_->asker->ask_neighbour(key);
    } else {
      impl_->requests.ask_neighbour(key);
    }
  }

  if (impl_->wants_settings || now - impl_->last_settings >= kSettingsPace) {
    impl_->read_settings();
    impl_->last_settings = now;
    impl_->finish();
  }
  if (impl_->wants_routes && now - impl_->last_resync >= kResyncPace) {
    impl_->last_resync = now;
    impl_->wants_routes = false;
    const auto synced = impl_->resync_routes();
    impl_->finish();
    return synced;
  }
  impl_->database.collect();
  impl_->neighbours.collect();
  return {};
}

void Mirror::Impl::apply(const nlmsghdr& message) {
  switch (message.nlmsg_type) {
    case RTM_NEWLINK:
      if (const auto link = read_link(message)) link_seen(*link);
      break;
    case RTM_DELLINK:
      if (const auto link = read_link(message)) link_removed(*link);
      break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
      address_seen(message, message.nlmsg_type == RTM_DELADDR);
      break;
    case RTM_NEWRULE:
      if (const auto rule = read_rule(message)) database.set(*rule);
      break;
    case RTM_DELRULE:
      if (const auto rule = read_rule(message)) database.remove(*rule);
      break;
    case RTM_NEWROUTE:
      if (const auto route = read_route(message))
        database.add(*route, place_of(message, route->destination.family));
      break;
    case RTM_DELROUTE:
      if (const auto route = read_route(message)) database.remove(*route);
      break;
    case RTM_NEWNEXTHOP:
      if (const auto object = read_next_hop(message)) database.set(*object);
      break;
    case RTM_DELNEXTHOP:
      if (const auto object = read_next_hop(message)) database.remove_next_hop(object->id);
      wants_routes = true;
      break;
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      neighbour_seen(message, message.nlmsg_type == RTM_DELNEIGH);
      break;
    case RTM_NEWNETCONF:
    case RTM_DELNETCONF:
      wants_settings = true;
      break;
    default:
      break;
  }
}

void Mirror::Impl::link_seen(const Link& link) {
  const auto known = database.links().find(link.ifindex);
  const bool is_new = known == database.links().end();
  if (!is_new && known->second == link) return;
  const bool was_up = !is_new && known->second.is_up();
  if (is_new || known->second.name != link.name) wants_settings = true;
  // Routes leave with a link that goes down and nexthops revive with one that comes up, both
  // untold.
  if (was_up != link.is_up()) wants_routes = true;
  const bool went_down = was_up && !link.is_up();
  events.push_back(
      {.what = went_down ? Event::What::link_down : Event::What::link_changed, .link = link});
  database.set(link);
}

void Mirror::Impl::link_removed(const Link& link) {
  if (!database.links().contains(link.ifindex)) return;
  wants_routes = true;
  for (const InterfaceAddress& own : database.addresses())
    if (own.ifindex == link.ifindex)
      events.push_back({.what = Event::What::address_gone, .address = own});
  events.push_back({.what = Event::What::link_removed, .link = link});
  database.remove_link(link.ifindex);
  neighbours.remove_link(link.ifindex);
}

void Mirror::Impl::address_seen(const nlmsghdr& message, bool is_gone) {
  const auto address = read_address(message);
  if (!address) return;
  if (!is_gone) return database.set(*address);
  database.remove(*address);
  wants_routes = true;  // Routes with it as their source go untold.
  events.push_back({.what = Event::What::address_gone, .address = *address});
}

void Mirror::Impl::neighbour_seen(const nlmsghdr& message, bool is_gone) {
  const auto change = read_neighbour(message);
  if (!change) return;
  const Neighbour before = neighbours.find(change->key);
  if (is_gone) {
    neighbours.remove(change->key);
  } else {
    neighbours.set(change->key, change->state, change->mac);
  }
  const Neighbour after = neighbours.find(change->key);
  if (before.status != after.status || before.mac != after.mac)
    events.push_back({.what = Event::What::neighbour, .key = change->key, .neighbour = after});
}

void Mirror::Impl::read_settings() {
  wants_settings = false;
  database.set(read_global_settings());
  for (const auto& [ifindex, link] : database.links())
    database.set(ifindex, read_interface_settings(link.name));
}

void Mirror::Impl::finish() {
  if (wants_settings) read_settings();
  database.publish();
  neighbours.collect();
  for (const Event& event : std::exchange(events, {})) tell(event);
}

void Mirror::Impl::tell(const Event& event) {
  if (listener == nullptr) return;
  switch (event.what) {
    case Event::What::address_gone:
      return listener->address_gone(event.address);
    case Event::What::link_down:
      return listener->link_gone(event.link, false);
    case Event::What::link_removed:
      return listener->link_gone(event.link, true);
    case Event::What::link_changed:
      return listener->link_changed(event.link);
    case Event::What::neighbour:
      return listener->neighbour_changed(event.key, event.neighbour);
  }
}

template <typename T, typename Read>
Result<std::vector<T>> Mirror::Impl::dump(std::uint16_t type, std::uint8_t family, Read read) {
  struct Collected {
    Read read;
    std::vector<T> all;
  } collected{read, {}};
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    collected.all.clear();
    const auto end = requests.dump(
        type, family,
        [](void* context, const nlmsghdr& message) {
          auto& into = *static_cast<Collected*>(context);
          if (auto value = into.read(message)) into.all.push_back(std::move(*value));
        },
        &collected);
    if (!end) return std::unexpected(end.error());
    if (*end == RtnetlinkSocket::DumpEnd::complete) return std::move(collected.all);
  }
  // The table changes faster than it can be read: what was missed comes as notifications.
  return std::move(collected.all);
}

Result<void> Mirror::Impl::resync_links() {
  const auto links = dump<Link>(RTM_GETLINK, AF_UNSPEC, read_link);
  if (!links) return std::unexpected(links.error());
  std::vector<Link> gone;
  for (const auto& [ifindex, known] : database.links()) {
    const bool is_there = std::any_of(links->begin(), links->end(),
                                      [&](const Link& link) { return link.ifindex == ifindex; });
    if (!is_there) gone.push_back(known);
  }
  for (const Link& link : gone) link_removed(link);
  for (const Link& link : *links) link_seen(link);
  return {};
}

Result<void> Mirror::Impl::resync_addresses() {
  const auto addresses = dump<InterfaceAddress>(RTM_GETADDR, AF_UNSPEC, read_address);
  if (!addresses) return std::unexpected(addresses.error());
  const std::vector<InterfaceAddress> known = database.addresses();
  for (const InterfaceAddress& own : known) {
    const bool is_there =
        std::any_of(addresses->begin(), addresses->end(), [&](const InterfaceAddress& address) {
          return address.ifindex == own.ifindex && address.family == own.family &&
                 address.local == own.local && address.prefix_length == own.prefix_length;
        });
    if (is_there) continue;
    database.remove(own);
    events.push_back({.what = Event::What::address_gone, .address = own});
  }
  for (const InterfaceAddress& address : *addresses) database.set(address);
  return {};
}

Result<void> Mirror::Impl::resync_rules() {
  std::vector<PolicyRule> all;
  for (const int family : {AF_INET, AF_INET6}) {
    auto rules = dump<PolicyRule>(RTM_GETRULE, static_cast<std::uint8_t>(family), read_rule);
    if (!rules) return std::unexpected(rules.error());
    all.insert(all.end(), rules->begin(), rules->end());
  }
  database.replace_rules(std::move(all));
  return {};
}

Result<void> Mirror::Impl::resync_next_hops() {
  const auto objects = dump<NextHopObject>(RTM_GETNEXTHOP, AF_UNSPEC, read_next_hop);
  if (!objects && objects.error().code == EOPNOTSUPP) return {};
  if (!objects) return std::unexpected(objects.error());
  std::set<std::uint32_t> gone;
  for (const auto& [id, object] : database.next_hops()) gone.insert(id);
  for (const NextHopObject& object : *objects) {
    gone.erase(object.id);
    database.set(object);
  }
  for (const std::uint32_t id : gone) database.remove_next_hop(id);
  return {};
}

Result<void> Mirror::Impl::resync_routes() {
  for (const Family family : {Family::ip, Family::ip6}) {
    auto routes = dump<RouteEntry>(RTM_GETROUTE, static_cast<std::uint8_t>(family), read_route);
    if (!routes) return std::unexpected(routes.error());
    database.replace_all(family, std::move(*routes));
  }
  return {};
}

Result<void> Mirror::Impl::resync_neighbours() {
  for (const int family : {AF_INET, AF_INET6}) {
    const auto changes =
        dump<NeighbourChange>(RTM_GETNEIGH, static_cast<std::uint8_t>(family), read_neighbour);
    if (!changes) return std::unexpected(changes.error());
    for (const NeighbourKey& key : neighbours.keys()) {
      if (key.family != static_cast<Family>(family)) continue;
      const bool is_there = std::any_of(changes->begin(), changes->end(),
                                        [&](const auto& change) { return change.key == key; });
      if (!is_there) neighbours.remove(key);
    }
    for (const NeighbourChange& change : *changes)
      neighbours.set(change.key, change.state, change.mac);
  }
  return {};
}

Result<void> Mirror::Impl::resync() {
  using Step = Result<void> (Impl::*)();
  for (const Step step :
       {&Impl::resync_links, &Impl::resync_addresses, &Impl::resync_rules, &Impl::resync_next_hops,
        &Impl::resync_routes, &Impl::resync_neighbours}) {
    if (const auto done = (this->*step)(); !done) return done;
  }
  read_settings();
  finish();
  return {};
}

}  // namespace weir::routing
