#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "routing/prefix_trie.h"
#include "routing/retired.h"
#include "routing/types.h"
#include "routing/view.h"

namespace weir::routing {

/// The writer's side of routing: holds everything, edits tables in place, publishes Views.
///
/// One thread edits. Route changes are visible to look-ups at once, the others with the next
/// publish(). Memory that readers may still see is freed by publish() and collect() when their
/// epochs have passed.
class Database {
 public:
  /// `epochs`: the readers'; null when nobody reads while it changes (replay, tests).
  explicit Database(Epochs* epochs = nullptr);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// The View of now; never null, empty before the first publish(). Readers within an epoch.
  const View& view() const { return *view_.load(std::memory_order_acquire); }

  // The writer.

  void set(const Link& link);
  void remove_link(std::uint32_t ifindex);
  void set(std::uint32_t ifindex, const InterfaceSettings& settings);
  void set(const GlobalSettings& settings);
  void set(const InterfaceAddress& address);
  void remove(const InterfaceAddress& address);
  void set(const PolicyRule& rule);
  void remove(const PolicyRule& rule);
  /// Makes the rules of both families exactly these.
  void replace_rules(std::vector<PolicyRule> rules);
  /// The kernel's three rules (local, main, default) for both families, for hand-filled databases.
  void add_default_rules();
  void set(const NextHopObject& object);
  void remove_next_hop(std::uint32_t id);

  enum class Place : std::uint8_t {
    append,   // After the routes of equal tos and metric.
    prepend,  // Before them.
    replace,  // Instead of the first of them.
  };
  /// Adds a route. One that equals an existing one in everything changes nothing.
  void add(const RouteEntry& route, Place place = Place::append);
  /// Removes the routes that agree in table, destination, tos, metric, type and next hops. For IPv6
  /// the next hops given are taken out of the route that has them, which goes when none is left.
  void remove(const RouteEntry& route);
  /// Makes the routes of all tables of a family exactly these; touches only prefixes that differ.
  void replace_all(wire::Family family, std::vector<RouteEntry> routes);
  /// All routes of a family, by table and destination.
  std::vector<RouteEntry> routes(wire::Family family) const;

  /// Makes the changes visible. Does nothing when there are none.
  void publish();
  /// Frees memory that no reader can see any more; publish() does it too.
  void collect() { retired_.collect(); }

  std::size_t route_count() const { return route_count_; }

  const std::map<std::uint32_t, Link>& links() const { return links_; }
  const std::vector<InterfaceAddress>& addresses() const { return addresses_; }
  const std::vector<PolicyRule>& rules() const { return rules_; }
  const std::map<std::uint32_t, NextHopObject>& next_hops() const { return objects_; }

 private:
  PrefixTrie& table(wire::Family family, std::uint32_t id);
  void store(PrefixTrie& trie, const wire::Prefix& destination, std::vector<RouteEntry> entries);
  std::vector<View::Rule> build_rules(wire::Family family);
  std::unique_ptr<View> build();

  Retired retired_;
  std::atomic<const View*> view_;
  bool is_dirty_ = true;
  std::uint64_t generation_ = 0;
  HashKey hash_key_;
  std::size_t route_count_ = 0;

  std::map<std::uint32_t, Link> links_;
  std::map<std::uint32_t, InterfaceSettings> settings_;
  GlobalSettings global_;
  std::vector<InterfaceAddress> addresses_;
  std::vector<PolicyRule> rules_;
  std::map<std::uint32_t, NextHopObject> objects_;
  std::map<std::uint32_t, std::unique_ptr<PrefixTrie>> tables_ip_, tables_ip6_;
};

}  // namespace weir::routing
