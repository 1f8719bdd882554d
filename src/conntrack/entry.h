#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "base/spin.h"
#include "base/timing_wheel.h"
#include "base/words.h"
#include "conntrack/extension.h"
#include "conntrack/proto/dccp.h"
#include "conntrack/proto/sctp.h"
#include "conntrack/proto/tcp.h"
#include "conntrack/proto/udp.h"
#include "conntrack/status.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// One direction's traffic. Bytes are those of the IP datagram, as the kernel counts.
struct Traffic {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

/// What tracking writes for every packet, in the entry's first cache line.
struct Hot {
  std::array<Traffic, 2> traffic;  // By Direction.
  Time deadline{};                 // Before confirm: the timeout, counted from the clock's zero.
  std::uint32_t status = 0;        // status::k*
  std::uint32_t mark = 0;
  UdpState udp;
};
static_assert(sizeof(Hot) == 56);

/// What nat/ keeps of a connection, written before it is confirmed. Plain data.
struct NatInfo {
  std::uint32_t masquerade_ifindex = 0;  // The link whose address masquerade took, or zero.
};

/// Whether connections of this protocol keep a state in the entry's last line.
constexpr bool has_state_line(std::uint8_t protocol) {
  return protocol == wire::protocol::kTcp || protocol == wire::protocol::kSctp ||
         protocol == wire::protocol::kDccp;
}

/// A connection, as it lies in the arena: plain data, no pointers, 256 bytes in four cache lines.
/// UDP's common packet touches the first and the line of its own tuple, TCP's, SCTP's and DCCP's
/// the last one too.
///
/// Who writes: until it is confirmed an entry belongs to the worker that made it, alone. Afterwards
/// the tuples, `nat`, `start` and `owner` never change, so whoever finds the entry reads them
/// without any lock, and everything else is written under `lock` by workers only, with `sequence`
/// odd meanwhile. `hot` and the last line's state are then read and written as words
/// (base/words.h). An entry's memory is used again only after an epoch.
struct alignas(64) Entry {
  SpinLock lock;
  std::atomic<std::uint8_t> owner{0};  // The worker whose wheels it hangs on.
  bool on_assured_wheel : 1 = false;   // The owner's: on which of them.
  bool reply_reserved : 1 = false;     // Before confirm: the index holds a reservation of `reply`.
  std::atomic<std::uint8_t> counted{0};  // Whether limits count it (limits.h).
  std::atomic<std::uint32_t> sequence{0};
  Hot hot;

  Tuple original;
  Duration start{};  // Wall clock; zero when time stamps are off.
  Duration stop{};
  std::uint32_t event_sequence =
      0;                         // Of the last event that was delivered; goes on in the next life.
  std::uint32_t generation = 0;  // Counts the lives of this number.

  Tuple reply;
  std::atomic<std::uint32_t> committed{
      0};                  // 1 while published. Written last: recovery believes it.
  WheelLink wheel;         // The owner's.
  std::uint32_t link = 0;  // In the free list, or the owner's list of the dead.
  NatInfo nat;
  std::uint32_t extension =
      0;  // By number, zero: none (extension.h). Set once in a life, and as an atomic.

  union {  // By the tuples' protocol.
    TcpState tcp{};
    SctpState sctp;
    DccpState dccp;
  };
  /// Of protocols with a state in this line, which shorten deadlines: the second of the clock at
  /// which the wheel's slot comes at the latest. The owner writes it, all compare with it.
  std::atomic<std::uint32_t> hangs_until{0};
  std::atomic<std::uint32_t> hastened{
      0};  // In the owner's list of the hastened: the next one. Zero: not in it.

  const Tuple& tuple(Direction d) const { return d == Direction::original ? original : reply; }
};
static_assert(sizeof(Entry) == 256);
static_assert(offsetof(Entry, original) == 64 && offsetof(Entry, reply) == 128 &&
              offsetof(Entry, tcp) == 192);

/// A consistent copy of an entry for those who show it.
struct Snapshot {
  std::uint32_t number = 0;
  std::uint32_t generation = 0;
  std::uint32_t id = 0;  // CTA_ID
  Tuple original;
  Tuple reply;
  std::array<Traffic, 2> traffic;
  Time deadline{};
  std::uint32_t status = 0;
  std::uint32_t mark = 0;
  UdpState udp;
  union {  // By the tuples' protocol; of others TCP's, empty.
    TcpState tcp{};
    SctpState sctp;
    DccpState dccp;
  };
  Duration start{};
  Duration stop{};  // Zero while it lives.
  NatInfo nat;
  Rare rare;

  /// What is left of the timeout, never negative.
  Duration expires_in(Time now) const { return deadline > now ? deadline - now : Duration{}; }
};

}  // namespace weir::conntrack
