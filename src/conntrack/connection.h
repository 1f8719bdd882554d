#pragma once

#include "conntrack/entry.h"
#include "packet/packet.h"
#include "wire/protocol.h"

namespace weir::conntrack {

/// Whether the packet may be one that begins its connection: a new one, or one that was expected.
/// ICMP errors about a connection are RELATED too.
inline bool may_begin(const packet::Packet& packet) {
  if (packet.ct.info == packet::CtInfo::is_new) return true;
  return packet.ct.info == packet::CtInfo::related && packet.l4_protocol != wire::protocol::kIcmp &&
         packet.l4_protocol != wire::protocol::kIcmpv6;
}

/// What rules and NAT may ask of an entry. Valid within the epoch of the batch. Single values are
/// right at some moment; values that must belong together come from a Snapshot.
class Connection {
 public:
  Connection(std::uint32_t number, const Entry& entry) : number_(number), entry_(&entry) {}

  std::uint32_t number() const { return number_; }
  const Tuple& original() const { return entry_->original; }
  /// Where NAT changed it, no longer the original's inverse.
  const Tuple& reply() const { return entry_->reply; }
  const Tuple& tuple(Direction d) const { return entry_->tuple(d); }

  std::uint32_t status() const { return atomically(entry_->hot.status); }
  /// By number, zero when it has none; Tracker::extension() leads to it.
  std::uint32_t extension() const { return atomically(entry_->extension); }
  std::uint32_t mark() const { return atomically(entry_->hot.mark); }
  Time deadline() const { return Time(Duration(atomically(entry_->hot.deadline))); }
  Traffic traffic(Direction d) const {
    return load_words(entry_->hot.traffic[static_cast<std::size_t>(d)]);
  }
  bool is_confirmed() const { return (status() & status::kConfirmed) != 0; }
  bool is_assured() const { return (status() & status::kAssured) != 0; }
  bool seen_reply() const { return (status() & status::kSeenReply) != 0; }
  bool is_source_translated() const { return (status() & status::kSrcNat) != 0; }
  bool is_dying() const { return (status() & status::kDying) != 0; }
  TcpState tcp() const { return load_words(entry_->tcp); }
  const NatInfo& nat() const { return entry_->nat; }
  Duration start() const { return entry_->start; }
  std::uint32_t generation() const { return entry_->generation; }

 private:
  static std::uint32_t atomically(const std::uint32_t& field) {
    return std::atomic_ref(const_cast<std::uint32_t&>(field)).load(std::memory_order_acquire);
  }
  static Duration::rep atomically(const Time& field) {
    auto& count = const_cast<Duration::rep&>(reinterpret_cast<const Duration::rep&>(field));
    return std::atomic_ref(count).load(std::memory_order_acquire);
  }

  std::uint32_t number_;
  const Entry* entry_;
};

}  // namespace weir::conntrack
