#include "routing/database.h"

#include <linux/if_addr.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/random.h"

namespace weir::routing {

using wire::Family;

namespace {

constexpr std::uint32_t kDirectLinks = 4096;  // Links with an ifindex below are found by one load.
constexpr std::uint32_t kLoopback = 1;

bool is_same_rank(const RouteEntry& a, const RouteEntry& b) {
  return a.tos == b.tos && a.priority == b.priority;
}

/// The order of look-ups within a prefix: higher tos first, then the lower metric.
bool is_before(const RouteEntry& a, const RouteEntry& b) {
  if (a.tos != b.tos) return a.tos > b.tos;
  return a.priority < b.priority;
}

bool is_same_way(const NextHop& a, const NextHop& b) {
  return a.ifindex == b.ifindex && a.gateway_family == b.gateway_family && a.gateway == b.gateway;
}

bool have_common_way(const RouteEntry& a, const RouteEntry& b) {
  if (a.next_hop_id != 0 || b.next_hop_id != 0) return a.next_hop_id == b.next_hop_id;
  if (a.next_hops.empty() && b.next_hops.empty()) return true;
  for (const NextHop& hop : a.next_hops)
    for (const NextHop& other : b.next_hops)
      if (is_same_way(hop, other)) return true;
  return false;
}

bool have_same_ways(const RouteEntry& a, const RouteEntry& b) {
  return a.next_hop_id == b.next_hop_id &&
         std::equal(a.next_hops.begin(), a.next_hops.end(), b.next_hops.begin(), b.next_hops.end(),
                    is_same_way);
}

auto destination_key(const RouteEntry& route) {
  return std::tie(route.table, route.destination.address.bytes, route.destination.length);
}

void insert(std::vector<RouteEntry>& entries, const RouteEntry& route, Database::Place place) {
  const auto same = std::find_if(entries.begin(), entries.end(), [&](const RouteEntry& entry) {
    const bool is_same_ip6 =
        route.destination.family == Family::ip6 && have_common_way(entry, route);
    return is_same_rank(entry, route) && (place == Database::Place::replace || is_same_ip6);
  });
  if (same != entries.end()) {
    *same = route;
    return;
  }
  const auto at = place == Database::Place::append
                      ? std::upper_bound(entries.begin(), entries.end(), route, is_before)
                      : std::lower_bound(entries.begin(), entries.end(), route, is_before);
  entries.insert(at, route);
}

/// Whether every packet matches the rule.
bool has_no_condition(const PolicyRule& rule) {
  const PolicyRule plain{.family = rule.family,
                         .priority = rule.priority,
                         .action = rule.action,
                         .table = rule.table,
                         .go_to_priority = rule.go_to_priority,
                         .suppress_prefix_length = rule.suppress_prefix_length,
                         .suppress_group = rule.suppress_group};
  // A prefix of length zero matches all whatever its family.
  PolicyRule compared = rule;
  if (rule.from.length == 0) compared.from = {};
  if (rule.to.length == 0) compared.to = {};
  return compared == plain;
}

}  // namespace

Database::Database(Epochs* epochs) : retired_(epochs), view_(new View), hash_key_(random_key()) {}

Database::~Database() { delete view_.load(std::memory_order_relaxed); }

void Database::set(const Link& link) {
  Link& known = links_[link.ifindex];
  if (known == link) return;
  known = link;
  is_dirty_ = true;
}

void Database::remove_link(std::uint32_t ifindex) {
  is_dirty_ |= links_.erase(ifindex) != 0;
  settings_.erase(ifindex);
  is_dirty_ |= std::erase_if(addresses_, [&](const InterfaceAddress& own) {
                 return own.ifindex == ifindex;
               }) != 0;
}

void Database::set(std::uint32_t ifindex, const InterfaceSettings& settings) {
  InterfaceSettings& known = settings_[ifindex];
  if (known == settings) return;
  known = settings;
  is_dirty_ = true;
}

void Database::set(const GlobalSettings& settings) {
  is_dirty_ |= !(global_ == settings);
  global_ = settings;
}

/// Keeps the kernel's order: an interface's primary IPv4 addresses of wider scope number first,
/// secondary ones last (__inet_insert_ifa). The first that fits is the one that the host uses.
void Database::set(const InterfaceAddress& address) {
  const auto is_same = [&](const InterfaceAddress& own) {
    return own.ifindex == address.ifindex && own.family == address.family &&
           own.local == address.local && own.prefix_length == address.prefix_length;
  };
  const auto known = std::find_if(addresses_.begin(), addresses_.end(), is_same);
  if (known != addresses_.end()) {
    is_dirty_ |= !(*known == address);
    *known = address;
    return;
  }
  is_dirty_ = true;
  const bool is_primary_ip = address.family == Family::ip && (address.flags & IFA_F_SECONDARY) == 0;
  const auto goes_before = [&](const InterfaceAddress& own) {
    if (own.ifindex != address.ifindex) return own.ifindex > address.ifindex;
    if (!is_primary_ip || own.family != Family::ip) return false;
    return (own.flags & IFA_F_SECONDARY) != 0 || own.scope < address.scope;
  };
  addresses_.insert(std::find_if(addresses_.begin(), addresses_.end(), goes_before), address);
}

void Database::remove(const InterfaceAddress& address) {
  is_dirty_ |= std::erase_if(addresses_, [&](const InterfaceAddress& own) {
                 return own.ifindex == address.ifindex && own.family == address.family &&
                        own.local == address.local && own.prefix_length == address.prefix_length;
               }) != 0;
}

void Database::set(const PolicyRule& rule) {
  if (std::find(rules_.begin(), rules_.end(), rule) != rules_.end()) return;
  const auto at = std::upper_bound(
      rules_.begin(), rules_.end(), rule,
      [](const PolicyRule& a, const PolicyRule& b) { return a.priority < b.priority; });
  rules_.insert(at, rule);
  is_dirty_ = true;
}

void Database::remove(const PolicyRule& rule) {
  const auto at = std::find(rules_.begin(), rules_.end(), rule);
  if (at == rules_.end()) return;
  rules_.erase(at);
  is_dirty_ = true;
}

void Database::replace_rules(std::vector<PolicyRule> rules) {
  std::stable_sort(rules.begin(), rules.end(), [](const PolicyRule& a, const PolicyRule& b) {
    return a.priority < b.priority;
  });
  is_dirty_ |= rules != rules_;
  rules_ = std::move(rules);
}

void Database::add_default_rules() {
  for (const Family family : {Family::ip, Family::ip6}) {
    set(PolicyRule{.family = family, .priority = 0, .table = kTableLocal});
    set(PolicyRule{.family = family, .priority = 32766, .table = kTableMain});
  }
  set(PolicyRule{.family = Family::ip, .priority = 32767, .table = kTableDefault});
}

void Database::set(const NextHopObject& object) {
  NextHopObject& known = objects_[object.id];
  if (known == object) return;
  known = object;
  is_dirty_ = true;
}

void Database::remove_next_hop(std::uint32_t id) { is_dirty_ |= objects_.erase(id) != 0; }

PrefixTrie& Database::table(Family family, std::uint32_t id) {
  auto& tables = family == Family::ip ? tables_ip_ : tables_ip6_;
  std::unique_ptr<PrefixTrie>& trie = tables[id];
  if (trie == nullptr) trie = std::make_unique<PrefixTrie>(family, retired_);
  return *trie;
}

void Database::store(PrefixTrie& trie, const wire::Prefix& destination,
                     std::vector<RouteEntry> entries) {
  const PrefixRoutes* const old_routes = trie.exact(destination);
  const std::size_t old_count = old_routes == nullptr ? 0 : old_routes->entries.size();
  if (old_routes != nullptr && old_routes->entries == entries) return;
  route_count_ += entries.size() - old_count;
  if (entries.empty()) return trie.set(destination, nullptr);
  auto routes = std::make_unique<PrefixRoutes>();
  routes->length = destination.length;
  routes->entries = std::move(entries);
  trie.set(destination, std::move(routes));
}

void Database::add(const RouteEntry& route, Place place) {
  PrefixTrie& trie = table(route.destination.family, route.table);
  const PrefixRoutes* const known = trie.exact(route.destination);
  std::vector<RouteEntry> entries = known == nullptr ? std::vector<RouteEntry>{} : known->entries;
  if (std::find(entries.begin(), entries.end(), route) != entries.end()) return;
  insert(entries, route, place);
  store(trie, route.destination, std::move(entries));
}

void Database::remove(const RouteEntry& route) {
  PrefixTrie& trie = table(route.destination.family, route.table);
  const PrefixRoutes* const known = trie.exact(route.destination);
  if (known == nullptr) return;
  std::vector<RouteEntry> entries = known->entries;
  const auto is_same = [&](const RouteEntry& entry) {
    const bool agrees = is_same_rank(entry, route) && entry.type == route.type;
    if (route.destination.family == Family::ip6) return agrees && have_common_way(entry, route);
    return agrees && have_same_ways(entry, route);
  };
  const auto at = std::find_if(entries.begin(), entries.end(), is_same);
  if (at == entries.end()) return;
  std::erase_if(at->next_hops, [&](const NextHop& hop) {
    return std::any_of(route.next_hops.begin(), route.next_hops.end(),
                       [&](const NextHop& gone) { return is_same_way(hop, gone); });
  });
  if (at->next_hops.empty() || at->next_hop_id != 0) entries.erase(at);
  store(trie, route.destination, std::move(entries));
}

void Database::replace_all(Family family, std::vector<RouteEntry> routes) {
  std::stable_sort(routes.begin(), routes.end(), [](const RouteEntry& a, const RouteEntry& b) {
    return destination_key(a) < destination_key(b);
  });
  const auto has = [&](const RouteEntry& entry) {
    return std::binary_search(routes.begin(), routes.end(), entry,
                              [](const RouteEntry& a, const RouteEntry& b) {
                                return destination_key(a) < destination_key(b);
                              });
  };
  for (auto& [id, trie] : family == Family::ip ? tables_ip_ : tables_ip6_) {
    std::vector<wire::Prefix> gone;
    trie->for_each([&](const PrefixRoutes& known) {
      if (!has(known.entries.front())) gone.push_back(known.entries.front().destination);
    });
    for (const wire::Prefix& destination : gone) store(*trie, destination, {});
  }
  for (std::size_t i = 0; i < routes.size();) {
    const RouteEntry& first = routes[i];
    std::vector<RouteEntry> entries;
    for (; i < routes.size() && destination_key(routes[i]) == destination_key(first); ++i)
      insert(entries, routes[i], Place::append);
    store(table(family, first.table), first.destination, std::move(entries));
  }
}

std::vector<RouteEntry> Database::routes(Family family) const {
  std::vector<RouteEntry> all;
  for (const auto& [id, trie] : family == Family::ip ? tables_ip_ : tables_ip6_) {
    trie->for_each([&](const PrefixRoutes& routes) {
      all.insert(all.end(), routes.entries.begin(), routes.entries.end());
    });
  }
  std::stable_sort(all.begin(), all.end(), [](const RouteEntry& a, const RouteEntry& b) {
    return destination_key(a) < destination_key(b);
  });
  return all;
}

std::vector<View::Rule> Database::build_rules(Family family) {
  const auto find_link = [&](const std::string& name) {
    for (const auto& [ifindex, link] : links_)
      if (link.name == name) return ifindex;
    return name == "lo" ? kLoopback : 0;
  };
  std::vector<View::Rule> built;
  for (const PolicyRule& rule : rules_) {
    if (rule.family != family) continue;
    View::Rule& made = built.emplace_back();
    made.rule = rule;
    made.never_matches = rule.is_unsupported;
    if (!rule.iif.empty()) made.never_matches |= (made.iif = find_link(rule.iif)) == 0;
    if (!rule.oif.empty()) made.never_matches |= (made.oif = find_link(rule.oif)) == 0;
    if (rule.action == RuleAction::to_table) made.table = &table(family, rule.table);
    made.always_matches = !made.never_matches && has_no_condition(rule);
  }
  for (View::Rule& rule : built) {
    if (rule.rule.action != RuleAction::go_to) continue;
    const auto target = std::find_if(built.begin(), built.end(), [&](const View::Rule& other) {
      return other.rule.priority == rule.rule.go_to_priority;
    });
    // A target that is missing makes the rule a no-op, as in the kernel.
    if (target == built.end()) rule.rule.action = RuleAction::nop;
    rule.next = static_cast<std::size_t>(target - built.begin());
  }
  return built;
}

std::unique_ptr<View> Database::build() {
  auto view = std::make_unique<View>();
  view->generation_ = ++generation_;
  view->hash_key_ = hash_key_;
  view->global_ = global_;
  for (const auto& [ifindex, link] : links_) {
    view->links_.push_back(link);
    const auto settings = settings_.find(ifindex);
    view->names_.push_back(padded(link.name));
    view->settings_.push_back(settings == settings_.end() ? InterfaceSettings{} : settings->second);
  }
  if (!links_.empty()) view->positions_.resize(std::min(links_.rbegin()->first + 1, kDirectLinks));
  for (std::size_t i = 0; i < view->links_.size(); ++i) {
    const std::uint32_t ifindex = view->links_[i].ifindex;
    if (ifindex < view->positions_.size())
      view->positions_[ifindex] = static_cast<std::uint32_t>(i + 1);
  }
  view->addresses_ = addresses_;
  view->objects_.insert(objects_.begin(), objects_.end());
  for (auto& [id, object] : view->objects_) {
    for (const NextHopObject::Member& member : object.group) {
      const auto known = objects_.find(member.id);
      if (known == objects_.end()) continue;
      object.is_blackhole |= known->second.is_blackhole;
      for (NextHop hop : known->second.next_hops) {
        hop.weight = member.weight;
        object.next_hops.push_back(hop);
      }
    }
  }
  view->rules_ip_ = build_rules(Family::ip);
  view->rules_ip6_ = build_rules(Family::ip6);
  view->has_custom_rules_ = std::any_of(rules_.begin(), rules_.end(), [](const PolicyRule& rule) {
    const bool is_default = rule.table >= kTableDefault && rule.table <= kTableLocal &&
                            rule.from.length == 0 && rule.to.length == 0 && rule.mark_mask == 0 &&
                            rule.iif.empty() && rule.oif.empty();
    return rule.family == Family::ip && !is_default;
  });
  view->local_ip_ = &table(Family::ip, kTableLocal);
  return view;
}

void Database::publish() {
  if (is_dirty_) {
    is_dirty_ = false;
    const View* const old_view = view_.exchange(build().release(), std::memory_order_acq_rel);
    retired_.add(old_view);
  }
  retired_.collect();
}

}  // namespace weir::routing
