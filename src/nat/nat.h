#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/siphash.h"
#include "conntrack/tracker.h"
#include "nat/port_map.h"
#include "nat/range.h"
#include "nat/sources.h"
#include "packet/packet.h"

namespace weir::nat {

/// Which end a hook translates: prerouting and output the destination, input and postrouting the
/// source (the kernel's HOOK2MANIP). In the reply direction the roles are exchanged by Nat itself.
///
/// Network address translation on top of the connection table. One object an engine, shared by its
/// workers; each call names the worker by its Tracker. At every NAT hook, for each packet that goes
/// through it:
///
///     if (nat.wants_setup(tracker, packet, manip)) {
///       run the nat chains, whose expressions call setup() or masquerade();
///       if (still wants_setup) nat.setup_null(tracker, packet, manip, now);
///     }
///     nat.apply(tracker, packet, manip, now);
///
/// What returns false has set Packet::drop. Requires: each worker online in the table's epochs.
class Nat final : private conntrack::ReplyWatch {
 public:
  /// The table must outlive it, and no worker may run while it is made or destroyed. `key`: random,
  /// secret; port choice and hashing depend on it. Errors: ENOMEM.
  static Result<std::unique_ptr<Nat>> create(conntrack::Table& table, const HashKey& key);

  ~Nat();
  Nat(const Nat&) = delete;
  Nat& operator=(const Nat&) = delete;

  /// Whether the packet begins a connection whose `manip` has not been decided. A connection
  /// decides once, at its first packet.
  bool wants_setup(conntrack::Tracker& tracker, const packet::Packet& packet, Manip manip) const;

  /// Maps the connection that the packet begins into `range`, as the kernel's nf_nat_setup_info
  /// does. Netmap ranges are resolved here. Nothing happens to a connection that is confirmed.
  [[nodiscard]] bool setup(conntrack::Tracker& tracker, packet::Packet& packet, Manip manip,
                           const Range& range, Time now);

  /// Source NAT to `address`, the one that the link packet.out_ifindex uses towards the
  /// destination; the entry remembers the link (see goes_with_address). `range` says ports and
  /// flags. IPv4 packets from 0.0.0.0 are left alone.
  [[nodiscard]] bool masquerade(conntrack::Tracker& tracker, packet::Packet& packet, Range range,
                                const wire::Address& address, Time now);

  /// When no rule wanted anything: the connection keeps its address, and its port unless another
  /// connection's mapping has it.
  [[nodiscard]] bool setup_null(conntrack::Tracker& tracker, packet::Packet& packet, Manip manip,
                                Time now);

  /// The same for a connection that is made without a packet, and that nobody sees yet; without a
  /// range as when no rule wanted anything. False when no tuple is free.
  [[nodiscard]] bool map_new(conntrack::Tracker& tracker, std::uint32_t entry, Manip manip,
                             const std::optional<Range>& range, Time now);

  /// Writes the connection's mapping into the packet, in the direction that it goes; ICMP errors
  /// inside and out. A masqueraded connection whose route has moved to another link is deleted.
  [[nodiscard]] bool apply(conntrack::Tracker& tracker, packet::Packet& packet, Manip manip,
                           Time now);

  /// After Confirmed::lost_race: gives the packet what the winner's entry, to which it refers by
  /// now, says.
  [[nodiscard]] bool restore_loser(conntrack::Tracker& tracker, packet::Packet& packet);

  /// After Confirmed::reply_taken: another connection's mapping took the reply tuple of one that
  /// reserved none. Chooses another source port, reserves it and writes it into the packet.
  [[nodiscard]] bool settle_clash(conntrack::Tracker& tracker, packet::Packet& packet, Time now);

 private:
  struct Setup;

  Nat(conntrack::Table& table, const HashKey& key, Sources sources, Mapping port_maps);
  void freed(const conntrack::Tuple& reply) override { port_maps_.freed(reply); }

  bool map(conntrack::Tracker& tracker, const conntrack::Connection& connection, Manip manip,
           const Range& asked, Time now);
  bool follow_source(Setup& setup) const;
  bool keeps_tuple(Setup& setup) const;
  bool choose_source(Setup& setup) const;
  bool choose_destination(Setup& setup) const;
  static std::uint32_t changed_ends(const conntrack::Tuple& before, const conntrack::Tuple& reply);
  static bool apply_to_error(const conntrack::Connection& connection, packet::Packet& packet,
                             Manip manip);

  conntrack::Table& table_;
  const HashKey key_;
  Sources sources_;
  PortMaps port_maps_;
};

/// Whether a masqueraded connection is to be deleted when link `ifindex` goes down, or, with
/// `address` given, when that address is taken off it (the kernel's masquerade notifiers).
bool goes_with_link(const conntrack::Snapshot& connection, std::uint32_t ifindex);
bool goes_with_address(const conntrack::Snapshot& connection, std::uint32_t ifindex,
                       wire::Family family, const wire::Address& address);

/// What packets of the other direction look like: ends exchanged; an ICMP id stays.
conntrack::Tuple mirrored(const conntrack::Tuple& tuple);

}  // namespace weir::nat
