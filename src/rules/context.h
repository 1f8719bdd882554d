#pragma once

#include <cstdint>

#include "base/clock.h"
#include "packet/packet.h"
#include "rules/hook.h"

namespace weir::conntrack {
class Table;
}
namespace weir::nat {
class Nat;
}
namespace weir::routing {
class Database;
}

namespace weir::rules {

class LogSink;
class RejectSender;
class Observer;
struct Services;

/// What the expressions see of a packet on its way. One lives for each worker, the stage fills in
/// the hook; everything in it belongs to the worker.
struct Context {
  packet::Packet* packet = nullptr;
  Hook hook = Hook::prerouting;
  Time now{};       // The batch's clock.
  Duration wall{};  // The same moment since 1970 (UTC), for `meta time`.
  const Services* services = nullptr;
  std::uint64_t generation =
      0;  // Of the compiled ruleset that is running: which set elements exist.
  std::uint64_t random =
      1;  // State of next_random(), seeded by whoever makes the context; never zero.
  std::uint16_t worker = 0;  // Which shard of per-worker state is ours; below Services::workers.
  RejectSender* reject = nullptr;  // The worker's answers to rejected packets; null: none are sent.
  Observer* observer =
      nullptr;  // Told what rules do, for `replay --explain` and nftrace; usually none.

  /// NFPROTO_IPV4 or NFPROTO_IPV6 of the packet at hand; netdev chains see packets of other
  /// protocols too, then unspec.
  Family packet_family() const {
    switch (packet->family) {
      case wire::Family::ip:
        return Family::ip;
      case wire::Family::ip6:
        return Family::ip6;
      default:
        return Family::unspec;
    }
  }
  /// Interface indices as meta iif and oif see them; zero where the hook has none.
  std::uint32_t in_ifindex() const { return packet->is_from_host ? 0 : packet->in_ifindex; }
  std::uint32_t out_ifindex() const {
    return hook >= Hook::forward && hook != Hook::ingress ? packet->out_ifindex : 0;
  }
  /// Numbers that spread well and need not be secret (xorshift64*).
  std::uint32_t next_random() {
    random ^= random >> 12;
    random ^= random << 25;
    random ^= random >> 27;
    return static_cast<std::uint32_t>((random * 0x2545f4914f6cdd1dULL) >> 32);
  }
  /// The packet's conntrack entry; zero when it has none.
  std::uint32_t entry() const { return packet->ct.entry; }
};

/// What expressions reach beyond the packet. Made once by engine/, constant afterwards; a null
/// pointer means that the engine at hand has no such thing, and expressions that need it fail to
/// match.
struct Services {
  conntrack::Table* conntrack = nullptr;
  nat::Nat* nat = nullptr;
  const routing::Database* routing =
      nullptr;             // view(): routes, and names, types, groups of interfaces.
  LogSink* log = nullptr;  // log_sink.h
  std::uint16_t workers = 1;
};

}  // namespace weir::rules
