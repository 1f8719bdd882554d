#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "routing/database.h"
#include "routing/neighbours.h"

namespace weir::routing {

/// Hears of changes that concern others than look-ups. Called on the control thread, after the View
/// with the change has been published.
class MirrorListener {
 public:
  virtual ~MirrorListener() = default;
  /// An address was taken from its interface (masquerade flushes its connections).
  virtual void address_gone(const InterfaceAddress&) {}
  /// A link went down or away. `is_removed` tells which.
  virtual void link_gone(const Link&, bool /*is_removed*/) {}
  /// A link appeared, came up, was renamed or otherwise changed.
  virtual void link_changed(const Link&) {}
  /// A neighbour was resolved or failed; workers see it in Neighbours by themselves.
  virtual void neighbour_changed(const NeighbourKey&, const Neighbour&) {}
};

/// Puts neighbour questions to the kernel in the mirror's place: who asks needs CAP_NET_ADMIN.
class NeighbourAsker {
 public:
  virtual ~NeighbourAsker() = default;
  /// Has the kernel resolve or confirm a neighbour, as if it had a packet for it.
  virtual void ask_neighbour(const NeighbourKey& key) = 0;
};

/// Keeps a Database and a Neighbours equal to the kernel of the network namespace that it was
/// opened in, over rtnetlink.
///
/// Life: open() subscribes first and dumps then, so nothing is missed. From then on a control
/// thread polls fd() for input and calls on_readable(); and calls tick() about every 100 ms, which
/// sends the neighbour questions of the workers and does a resynchronisation that has become due. A
/// lost notification (ENOBUFS) or an interrupted dump leads to a new dump, whose differences alone
/// are applied. Some changes the kernel makes without telling: routes that go with their interface
/// or their source address. After an event that can cause it the routes are dumped again, at most
/// once in half a second; look-ups meanwhile take a link that is down for dead, so a failover to a
/// backup route doesn't wait for it.
///
/// Used by one thread.
class Mirror {
 public:
  /// Subscribes, dumps, publishes the first View. Without an asker it asks itself.
  static Result<std::unique_ptr<Mirror>> open(Database& database, Neighbours& neighbours,
                                              MirrorListener* listener = nullptr,
                                              NeighbourAsker* asker = nullptr);
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  /// Readable when notifications wait.
  int fd() const;
  /// Reads what waits (bounded), applies it and publishes. An error means that the socket is
  /// unusable.
  Result<void> on_readable(Time now);
  /// Timed work: neighbour questions, due resynchronisation.
  Result<void> tick(Time now);
  /// Dumps everything again and applies the differences.
  Result<void> resync();

  /// How often a resynchronisation was needed because notifications were lost.
  std::uint64_t overruns() const;

 private:
  struct Impl;
  explicit Mirror(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::routing
