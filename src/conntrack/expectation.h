#pragma once

#include <cstdint>

#include "base/clock.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// What an expectation may be beside ordinary: the kernel's NF_CT_EXPECT_*.
namespace expect_flag {
inline constexpr std::uint32_t kPermanent = 1u << 0;  // Stays when its connection has come.
inline constexpr std::uint32_t kInactive = 1u << 1;   // Lets nothing in.
inline constexpr std::uint32_t kUserspace = 1u << 2;
}  // namespace expect_flag

/// The connections that are expected: those whose first packet has `tuple`, compared in the whole
/// destination and under the mask in the source. The kernel's nf_conntrack_tuple_mask has no other
/// part either, so no expectation is wider than that.
struct Expected {
  Tuple tuple;  // Its zone is the master's.
  wire::Address source_mask{};
  Be16 source_port_mask{0};
  std::uint16_t unused = 0;
  std::uint32_t unused_too = 0;

  bool covers(const Tuple& first) const;
  /// Whether one connection could be meant by both.
  bool clashes(const Expected& other) const;
  bool operator==(const Expected&) const = default;
};

/// The mask that compares a whole address.
constexpr wire::Address all_of(wire::Family family) {
  wire::Address mask;
  for (std::size_t i = 0; i < wire::address_bytes(family); ++i) mask.bytes[i] = 0xff;
  return mask;
}

/// How the expected connection is translated (the kernel's nf_nat_follow_master): its source
/// becomes where the master's packets of direction `direction` come from after NAT, its destination
/// the master's end there, at `port`.
struct ExpectedNat {
  wire::Address address{};  // saved_addr: zero unless ctnetlink gave one.
  Be16 port{0};             // saved_proto
  Direction direction = Direction::original;
  bool follows_master = false;
};

/// An expectation. Plain data.
struct alignas(8) Expectation {
  Expected expected;
  Tuple master_tuple;  // Of its master's original direction.
  std::uint32_t master = 0;
  std::uint32_t master_generation = 0;
  Time deadline{};
  ExpectedNat nat;
  std::uint32_t flags = 0;
  std::uint16_t class_number = 0;
  std::uint16_t helper = 0;         // Of the expected connection; zero: none.
  std::uint16_t master_helper = 0;  // Of the master.
  bool is_alive = false;
};

/// A copy for those who show it.
struct ExpectationSnapshot : Expectation {
  std::uint32_t number = 0;
  std::uint32_t id = 0;  // CTA_EXPECT_ID

  Duration expires_in(Time now) const { return deadline > now ? deadline - now : Duration{}; }
};

/// What somebody wants expected on behalf of a connection.
struct ExpectationRequest {
  Expected expected{};
  ExpectedNat nat{};
  std::uint32_t flags = 0;
  std::uint16_t class_number = 0;  // Below Extension::kClasses.
  std::uint16_t helper = 0;        // Of the expected connection; zero: none.
  Duration lifetime{};
  /// Of this class and master: past `max_of_class` the oldest makes room, past `most_of_class`
  /// there is none. Zero: any number.
  std::uint16_t max_of_class = 0;
  std::uint16_t most_of_class = 0;
  std::uint32_t port_id = 0;  // Of the netlink socket that asks; events carry it.
};

/// What a control thread wants done to expectations. Lives until that is done.
struct ExpectationChange {
  enum class Kind : std::uint8_t { add, remove, set_lifetime };

  Kind kind = Kind::add;
  ExpectationRequest request{};  // add
  std::uint32_t number = 0;      // Of the expectation, for the others,
  std::uint32_t id = 0;          // and which life of it.
  Duration lifetime{};           // set_lifetime
  std::uint32_t port_id = 0;     // remove: as ExpectationRequest's.
};

struct ExpectationEvent {
  bool is_destroyed = false;  // Else it is new.
  std::uint32_t port_id = 0;
  ExpectationSnapshot expectation;
};

}  // namespace weir::conntrack
