#include "nat/nat.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <set>

#include "nat/test_packet.h"
#include "wire/protocol.h"

namespace weir::nat {
namespace {

namespace status = conntrack::status;
using namespace std::chrono_literals;
using conntrack::Confirmed;
using conntrack::Direction;
using conntrack::Tuple;
using packet::CtInfo;
using packet::Drop;
using test::Octets;
using test::TestPacket;
using wire::Address;
using wire::Family;

constexpr std::uint8_t kTcp = wire::protocol::kTcp;
constexpr std::uint8_t kUdp = wire::protocol::kUdp;
constexpr std::uint8_t kIcmp = wire::protocol::kIcmp;
constexpr std::uint32_t kWan = 7;

Address ip(const char* text) { return wire::parse_address(text)->address; }

Tuple flow(const char* src, std::uint16_t src_port, const char* dst, std::uint16_t dst_port,
           std::uint8_t protocol = kUdp) {
  Tuple t;
  t.family = wire::parse_address(src)->family;
  t.src = ip(src);
  t.dst = ip(dst);
  t.src_port = Be16::from_host(src_port);
  t.dst_port = Be16::from_host(dst_port);
  t.protocol = protocol;
  return t;
}

Tuple ping(const char* src, const char* dst, std::uint16_t id) {
  return flow(src, id, dst, 8 << 8, kIcmp);
}

Octets packet_of(const Tuple& tuple, std::uint8_t tcp_flags = 0x02, std::uint32_t seq = 1000,
                 std::uint32_t ack = 0) {
  test::Spec spec;
  spec.tuple = tuple;
  spec.payload = Octets(tuple.protocol == kTcp ? 0 : 10, 3);
  spec.tcp_flags = tcp_flags;
  spec.seq = seq;
  spec.ack = ack;
  return test::datagram(spec);
}

/// What the answer to a packet looks like.
Tuple answer_to(const Tuple& sent) {
  Tuple t = mirrored(sent);
  if (t.protocol == kIcmp) t.dst_port = Be16{};  // Echo reply.
  return t;
}

Range ports(std::uint16_t low, std::uint16_t high, std::uint32_t flags = 0) {
  Range range;
  range.flags = Range::kPortsSpecified | flags;
  range.min_port = low;
  range.max_port = high;
  return range;
}

Range to(const char* address) { return Range::to(ip(address)); }
Range to(const char* address, std::uint16_t low, std::uint16_t high, std::uint32_t flags = 0) {
  Range range = to(address);
  range.flags |= Range::kPortsSpecified | flags;
  range.min_port = low;
  range.max_port = high;
  return range;
}
Range between(const char* low, const char* high, std::uint32_t flags = 0) {
  Range range = to(low);
  range.max_address = ip(high);
  range.flags |= flags;
  return range;
}

/// What the nat chains of a test want; empty: nothing.
struct Rules {
  std::optional<Range> dst{};
  std::optional<Range> src{};
  std::optional<Address> masquerade{};
  std::uint32_t out_ifindex = kWan;
};

/// A packet that has passed, or not.
struct Passed {
  std::unique_ptr<TestPacket> packet;
  bool is_sent = false;

  Tuple tuple() const { return test::tuple_of(packet->datagram()); }
  Drop drop() const { return packet->packet.drop; }
};

/// Table, NAT, and the stages of the path that matter here.
class Gateway {
 public:
  explicit Gateway(std::uint32_t max = 4096, std::uint32_t workers = 1) {
    conntrack::TableOptions options;
    options.max = max;
    options.workers = workers;
    options.key = HashKey{1, 2};
    table = std::move(*conntrack::Table::create(options, now));
    nat = std::move(*Nat::create(*table, HashKey{3, 4}));
    for (std::uint32_t i = 0; i < workers; ++i) table->tracker(i).online();
  }

  Passed send(const Octets& datagram, const Rules& rules = {}, std::uint32_t worker = 0) {
    Passed passed = begin(datagram, worker);
    finish(passed, rules, worker);
    return passed;
  }

  /// As far as tracking.
  Passed begin(const Octets& datagram, std::uint32_t worker = 0) {
    Passed passed{.packet = std::make_unique<TestPacket>(datagram)};
    packet::Batch batch, later;
    batch.now = now;
    batch.add(&passed.packet->packet);
    table->tracker(worker).track(batch, later);
    return passed;
  }

  /// Through both NAT hooks.
  bool translate(Passed& passed, const Rules& rules, std::uint32_t worker = 0) {
    conntrack::Tracker& tracker = table->tracker(worker);
    packet::Packet& packet = passed.packet->packet;
    packet.out_ifindex = rules.out_ifindex;
    for (const Manip manip : {Manip::dst, Manip::src}) {
      if (nat->wants_setup(tracker, packet, manip)) {
        const auto& range = manip == Manip::dst ? rules.dst : rules.src;
        if (manip == Manip::src && rules.masquerade) {
          if (!nat->masquerade(tracker, packet, {}, *rules.masquerade, now)) return false;
        } else if (range && !nat->setup(tracker, packet, manip, *range, now)) {
          return false;
        }
        if (nat->wants_setup(tracker, packet, manip) &&
            !nat->setup_null(tracker, packet, manip, now)) {
          return false;
        }
      }
      if (!nat->apply(tracker, packet, manip, now)) return false;
    }
    return true;
  }

  void confirm(Passed& passed, std::uint32_t worker = 0) {
    conntrack::Tracker& tracker = table->tracker(worker);
    packet::Packet& packet = passed.packet->packet;
    for (int attempt = 0; attempt < 3 && !passed.is_sent; ++attempt) {
      last = tracker.confirm(packet, now);
      if (last == Confirmed::done) passed.is_sent = true;
      const bool goes_on = last == Confirmed::lost_race ? nat->restore_loser(tracker, packet)
                           : last == Confirmed::reply_taken
                               ? nat->settle_clash(tracker, packet, now)
                               : true;
      EXPECT_TRUE(goes_on);
      if (last == Confirmed::no_room) break;
    }
  }

  void finish(Passed& passed, const Rules& rules, std::uint32_t worker = 0) {
    if (translate(passed, rules, worker)) {
      confirm(passed, worker);
    } else {
      table->tracker(worker).discard(passed.packet->packet);
    }
    EXPECT_TRUE(!passed.is_sent || test::has_right_checksums(passed.packet->datagram()));
  }

  conntrack::Snapshot entry(const Tuple& tuple) {
    const auto found = table->find(tuple, now);
    EXPECT_TRUE(found);
    return found ? *table->snapshot(found->number, now) : conntrack::Snapshot{};
  }

  Time now{1000s};
  std::unique_ptr<conntrack::Table> table;
  std::unique_ptr<Nat> nat;
  Confirmed last = Confirmed::done;
};

std::uint16_t port_of(const Passed& passed) { return passed.tuple().src_port.host(); }

const Tuple kQuery = flow("10.0.0.1", 5000, "192.0.2.53", 53);

TEST(Nat, SourceAndBack) {
  Gateway gateway;
  const Passed out = gateway.send(packet_of(kQuery), {.src = to("203.0.113.1")});
  EXPECT_EQ(out.tuple(), flow("203.0.113.1", 5000, "192.0.2.53", 53));
  const Passed back = gateway.send(packet_of(answer_to(out.tuple())));
  EXPECT_EQ(back.tuple(), answer_to(kQuery));
  EXPECT_EQ(back.packet->packet.ct.info, CtInfo::established_reply);

  const std::uint32_t bits = gateway.entry(kQuery).status;
  EXPECT_EQ(bits & status::kNatMask, status::kSrcNat);
  EXPECT_EQ(bits & status::kNatDoneMask, status::kNatDoneMask);
  // Later packets need no rules.
  EXPECT_EQ(gateway.send(packet_of(kQuery)).tuple(), out.tuple());
}

TEST(Nat, DestinationAndBack) {
  Gateway gateway;
  const Tuple asked = flow("198.51.100.9", 4000, "203.0.113.1", 80, kTcp);
  const Passed in = gateway.send(packet_of(asked), {.dst = to("10.0.0.8", 8080, 8080)});
  EXPECT_EQ(in.tuple(), flow("198.51.100.9", 4000, "10.0.0.8", 8080, kTcp));
  const Passed back = gateway.send(packet_of(answer_to(in.tuple()), 0x12, 9000, 1001));
  EXPECT_EQ(back.tuple(), answer_to(asked));
  EXPECT_EQ(gateway.entry(asked).status & status::kNatMask, status::kDstNat);
}

TEST(Nat, Ip6) {
  Gateway gateway;
  const Tuple asked = flow("2001:db8::1", 4000, "2001:db8:1::2", 80, kTcp);
  const Passed out = gateway.send(packet_of(asked), {.src = to("2001:db8:2::3")});
  EXPECT_EQ(out.tuple(), flow("2001:db8:2::3", 4000, "2001:db8:1::2", 80, kTcp));
  EXPECT_EQ(gateway.send(packet_of(answer_to(out.tuple()), 0x12, 9, 1001)).tuple(),
            answer_to(asked));
}

// A client reaches a server beside it by the gateway's outer address.
TEST(Nat, Hairpin) {
  Gateway gateway;
  const Tuple asked = flow("10.0.0.1", 4000, "203.0.113.1", 80);
  const Passed there = gateway.send(
      packet_of(asked), {.dst = to("10.0.0.8", 8080, 8080), .masquerade = ip("203.0.113.1")});
  EXPECT_EQ(there.tuple(), flow("203.0.113.1", 4000, "10.0.0.8", 8080));
  EXPECT_EQ(gateway.send(packet_of(answer_to(there.tuple()))).tuple(), answer_to(asked));
}

TEST(Nat, WithoutRulesNothingChanges) {
  Gateway gateway;
  EXPECT_EQ(gateway.send(packet_of(kQuery)).tuple(), kQuery);
  const std::uint32_t bits = gateway.entry(kQuery).status;
  EXPECT_EQ(bits & status::kNatMask, 0U);
  EXPECT_EQ(bits & status::kNatDoneMask, status::kNatDoneMask);
}

TEST(Nat, TakenPortIsReplacedWithinItsClass) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1")};
  const struct {
    std::uint16_t port, low, high;
  } kClasses[] = {{100, 1, 511}, {512, 600, 1023}, {1023, 600, 1023}, {1024, 1024, 65535}};
  for (const auto& c : kClasses) {
    gateway.send(packet_of(flow("10.0.0.1", c.port, "192.0.2.53", 53)), rules);
    const Passed second =
        gateway.send(packet_of(flow("10.0.0.2", c.port, "192.0.2.53", 53)), rules);
    EXPECT_NE(port_of(second), c.port);
    EXPECT_GE(port_of(second), c.low);
    EXPECT_LE(port_of(second), c.high);
  }
}

TEST(Nat, PortIsSharedTowardsOtherServers) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1")};
  gateway.send(packet_of(kQuery), rules);
  EXPECT_EQ(port_of(gateway.send(packet_of(flow("10.0.0.2", 5000, "192.0.2.54", 53)), rules)),
            5000);
}

// The kernel's by-source hash, RFC 4787 REQ-1 in spirit: a moved port stays moved towards other
// servers.
TEST(Nat, OneClientPortKeepsItsMapping) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1")};
  gateway.send(packet_of(kQuery), rules);
  const Passed moved = gateway.send(packet_of(flow("10.0.0.2", 5000, "192.0.2.53", 53)), rules);
  ASSERT_NE(port_of(moved), 5000);
  const Passed other = gateway.send(packet_of(flow("10.0.0.2", 5000, "192.0.2.99", 99)), rules);
  EXPECT_EQ(port_of(other), port_of(moved));
}

TEST(Nat, RandomDoesNotKeepThePort) {
  for (const std::uint32_t flag : {Range::kRandom, Range::kFullyRandom}) {
    Gateway gateway;
    Range range = to("203.0.113.1");
    range.flags |= flag;
    std::set<std::uint16_t> seen;
    for (std::uint16_t i = 0; i < 20; ++i) {
      gateway.now += 1ms;
      const Tuple asked = flow("10.0.0.1", static_cast<std::uint16_t>(5000 + i), "192.0.2.53", 53);
      const Passed out = gateway.send(packet_of(asked), {.src = range});
      EXPECT_GE(port_of(out), 1024);
      seen.insert(port_of(out));
    }
    EXPECT_GE(seen.size(), 19U);
    EXPECT_GT(*seen.rbegin() - *seen.begin(), 10000);
  }
}

TEST(Nat, PortRangeIsUsedUpAndThenRefused) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1", 40000, 40099)};
  std::set<std::uint16_t> seen;
  for (std::uint16_t i = 0; i < 100; ++i) {
    const Tuple asked = flow("10.0.0.1", static_cast<std::uint16_t>(5000 + i), "192.0.2.53", 53);
    const Passed out = gateway.send(packet_of(asked), rules);
    ASSERT_TRUE(out.is_sent);
    seen.insert(port_of(out));
  }
  EXPECT_EQ(seen.size(), 100U);
  EXPECT_EQ(*seen.begin(), 40000);
  EXPECT_EQ(*seen.rbegin(), 40099);

  const Tuple one_more = flow("10.0.0.1", 6000, "192.0.2.53", 53);
  const Passed refused = gateway.send(packet_of(one_more), rules);
  EXPECT_FALSE(refused.is_sent);
  EXPECT_EQ(refused.drop(), Drop::nat_no_tuple);
  EXPECT_FALSE(gateway.table->find(one_more, gateway.now));

  // Once a connection is over its port is free again.
  gateway.now += 31s;
  EXPECT_TRUE(gateway.send(packet_of(one_more), rules).is_sent);
}

TEST(Nat, RefusedConnectionsLeaveNoReservation) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1", 40000, 40000)};
  Passed first = gateway.begin(packet_of(kQuery));
  ASSERT_TRUE(gateway.translate(first, rules));
  EXPECT_FALSE(gateway.send(packet_of(flow("10.0.0.2", 1, "192.0.2.53", 53)), rules).is_sent);
  gateway.table->tracker(0).discard(first.packet->packet);
  EXPECT_TRUE(gateway.send(packet_of(flow("10.0.0.2", 1, "192.0.2.53", 53)), rules).is_sent);
}

// Two connections of one batch, neither confirmed when the other chooses.
TEST(Nat, ReservedBeforeConfirmed) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1")};
  Passed first = gateway.begin(packet_of(kQuery));
  Passed second = gateway.begin(packet_of(flow("10.0.0.2", 5000, "192.0.2.53", 53)));
  ASSERT_TRUE(gateway.translate(first, rules));
  ASSERT_TRUE(gateway.translate(second, rules));
  EXPECT_EQ(port_of(first), 5000);
  EXPECT_NE(port_of(second), 5000);
  gateway.confirm(first);
  gateway.confirm(second);
  EXPECT_TRUE(first.is_sent && second.is_sent);
}

TEST(Nat, TwoFlowsNeverShareATuple) {
  EXPECT_TRUE(rc::check([] {
    Gateway gateway(8192);
    const Rules all[] = {
        {.src = to("203.0.113.1")},
        {.src = to("203.0.113.1", 3000, 3100)},
        {.src = between("203.0.113.1", "203.0.113.2")},
        {.dst = to("192.0.2.53", 53, 53)},
        {.dst = to("192.0.2.53", 53, 53), .masquerade = ip("203.0.113.1")},
        {},
    };
    std::map<std::string, Tuple> owners;
    const int count = *rc::gen::inRange(1, 300);
    for (int i = 0; i < count; ++i) {
      const std::uint8_t protocol = *rc::gen::element(kTcp, kUdp, kIcmp);
      Tuple asked;
      asked.family = Family::ip;
      asked.protocol = protocol;
      asked.src = Address::ip(*rc::gen::element(0x0a000001U, 0x0a000002U, 0xcb007101U));
      asked.dst = Address::ip(*rc::gen::element(0xc0000235U, 0xc0000236U));
      asked.src_port = Be16::from_host(*rc::gen::inRange<std::uint16_t>(3000, 3020));
      asked.dst_port = protocol == kIcmp
                           ? Be16::from_host(8 << 8)
                           : Be16::from_host(*rc::gen::element<std::uint16_t>(53, 54));
      const Passed out = gateway.send(packet_of(asked), all[*rc::gen::inRange<std::size_t>(0, 6)]);
      if (!out.is_sent) continue;
      const Tuple now = out.tuple();
      const Bytes bytes = as_bytes(now);
      const auto [at, is_new] = owners.emplace(std::string(bytes.begin(), bytes.end()), asked);
      RC_ASSERT(is_new || at->second == asked);
      // And the answer comes back to where the question came from.
      const Tuple answer = answer_to(now);
      if (protocol == kUdp) RC_ASSERT(gateway.send(packet_of(answer)).tuple() == answer_to(asked));
    }
  }));
}

TEST(Nat, SourcesOfOthersGiveWay) {
  Gateway gateway;
  gateway.send(packet_of(kQuery), {.src = to("203.0.113.1")});
  // The gateway itself asks from the port that is mapped already.
  const Tuple own = flow("203.0.113.1", 5000, "192.0.2.53", 53);
  const Passed out = gateway.send(packet_of(own));
  ASSERT_TRUE(out.is_sent);
  EXPECT_NE(port_of(out), 5000);
  EXPECT_EQ(gateway.entry(own).status & status::kNatMask, status::kSrcNat);
  EXPECT_EQ(gateway.send(packet_of(answer_to(out.tuple()))).tuple(), answer_to(own));
}

// Somebody maps to the tuple of a connection that is on its way, and reserved nothing.
TEST(Nat, ClashAtConfirmIsSettled) {
  Gateway gateway;
  const Tuple own = flow("203.0.113.1", 5000, "192.0.2.53", 53);
  Passed plain = gateway.begin(packet_of(own));
  ASSERT_TRUE(gateway.translate(plain, {}));
  ASSERT_TRUE(gateway.send(packet_of(kQuery), {.src = to("203.0.113.1")}).is_sent);
  gateway.confirm(plain);
  ASSERT_TRUE(plain.is_sent);
  EXPECT_NE(port_of(plain), 5000);
  EXPECT_TRUE(test::has_right_checksums(plain.packet->datagram()));
  EXPECT_EQ(gateway.send(packet_of(answer_to(plain.tuple()))).tuple(), answer_to(own));
}

// Two workers get the first two packets of a connection at once: the loser goes the winner's way.
TEST(Nat, LoserOfARaceFollowsTheWinner) {
  Gateway gateway(4096, 2);
  Range random = to("203.0.113.1");
  random.flags |= Range::kFullyRandom;
  Passed winner = gateway.begin(packet_of(kQuery), 0);
  Passed loser = gateway.begin(packet_of(kQuery), 1);
  ASSERT_TRUE(gateway.translate(winner, {.src = random}, 0));
  ASSERT_TRUE(gateway.translate(loser, {.dst = to("192.0.2.77", 99, 99), .src = random}, 1));
  ASSERT_NE(winner.tuple(), loser.tuple());
  gateway.confirm(winner, 0);
  gateway.confirm(loser, 1);
  EXPECT_TRUE(loser.is_sent);
  EXPECT_EQ(loser.tuple(), winner.tuple());
  EXPECT_TRUE(test::has_right_checksums(loser.packet->datagram()));
  EXPECT_EQ(gateway.table->count(), 1U);
}

// Two destinations become one: the same client port would give two connections one tuple.
TEST(Nat, DestinationClashMovesTheClientsPort) {
  Gateway gateway;
  const Rules rules{.dst = to("10.0.0.8", 8080, 8080)};
  const Passed one = gateway.send(packet_of(flow("198.51.100.9", 4000, "203.0.113.1", 80)), rules);
  const Tuple asked = flow("198.51.100.9", 4000, "203.0.113.2", 80);
  const Passed two = gateway.send(packet_of(asked), rules);
  EXPECT_EQ(port_of(one), 4000);
  ASSERT_TRUE(two.is_sent);
  EXPECT_NE(port_of(two), 4000);
  EXPECT_EQ(two.tuple().dst, ip("10.0.0.8"));
  EXPECT_EQ(gateway.entry(asked).status & status::kNatMask, status::kNatMask);
  EXPECT_EQ(gateway.send(packet_of(answer_to(two.tuple()))).tuple(), answer_to(asked));
}

TEST(Nat, DestinationPortRangeFromItsStart) {
  Gateway gateway;
  const Rules rules{.dst = to("10.0.0.8", 8000, 8003)};
  const Passed out = gateway.send(packet_of(flow("198.51.100.9", 4000, "203.0.113.1", 80)), rules);
  EXPECT_EQ(out.tuple().dst_port.host(), 8000);
  // A port within the range stays.
  const Passed kept =
      gateway.send(packet_of(flow("198.51.100.9", 4001, "203.0.113.1", 8002)), rules);
  EXPECT_EQ(kept.tuple().dst_port.host(), 8002);
}

TEST(Nat, PortOffsetShifts) {
  Gateway gateway;
  Range range = to("10.0.0.8", 8000, 8099, Range::kPortOffset);
  range.base_port = 5000;
  const Passed out =
      gateway.send(packet_of(flow("198.51.100.9", 4000, "203.0.113.1", 5042)), {.dst = range});
  EXPECT_EQ(out.tuple().dst_port.host(), 8042);
}

TEST(Nat, RedirectOfPortsOnly) {
  Gateway gateway;
  const Passed out =
      gateway.send(packet_of(flow("10.0.0.1", 4000, "192.0.2.1", 80)), {.dst = ports(3128, 3128)});
  EXPECT_EQ(out.tuple(), flow("10.0.0.1", 4000, "192.0.2.1", 3128));
}

TEST(Nat, NetmapKeepsTheHost) {
  Gateway gateway;
  const Passed out = gateway.send(packet_of(flow("10.0.0.77", 4000, "192.0.2.1", 80)),
                                  {.src = between("203.0.113.0", "203.0.113.255", Range::kNetmap)});
  EXPECT_EQ(out.tuple().src, ip("203.0.113.77"));

  const Range prefix = between("2001:db8:2::", "2001:db8:2:0:ffff:ffff:ffff:ffff", Range::kNetmap);
  EXPECT_EQ(netmap(prefix, ip("fd00::abcd:1"), Family::ip6).min_address, ip("2001:db8:2::abcd:1"));
}

TEST(Nat, AddressRangeSpreadsAndRepeats) {
  Gateway gateway;
  const Rules rules{.src = between("203.0.113.16", "203.0.113.31")};
  std::set<Address> seen;
  for (std::uint32_t i = 0; i < 64; ++i) {
    Tuple asked = kQuery;
    asked.src = Address::ip(0x0a000100 + i);
    const Address first = gateway.send(packet_of(asked), rules).tuple().src;
    asked.src_port = Be16::from_host(6000);
    EXPECT_EQ(gateway.send(packet_of(asked), rules).tuple().src,
              first);  // The same client and server.
    EXPECT_GE(first, ip("203.0.113.16"));
    EXPECT_LE(first, ip("203.0.113.31"));
    seen.insert(first);
  }
  EXPECT_GE(seen.size(), 13U);
}

TEST(Nat, PersistentDependsOnTheClientAlone) {
  const auto addresses = [](std::uint32_t flags) {
    Gateway gateway;
    std::set<Address> seen;
    for (std::uint32_t i = 0; i < 32; ++i) {
      Tuple asked = kQuery;
      asked.src_port = Be16::from_host(static_cast<std::uint16_t>(5000 + i));
      asked.dst = Address::ip(0xc6336400 + i);
      seen.insert(
          gateway.send(packet_of(asked), {.src = between("203.0.113.16", "203.0.113.31", flags)})
              .tuple()
              .src);
    }
    return seen.size();
  };
  EXPECT_EQ(addresses(Range::kPersistent), 1U);
  EXPECT_GE(addresses(0), 8U);
}

TEST(Nat, Ip6AddressRangeIsNeverLeft) {
  EXPECT_TRUE(rc::check([] {
    Range range = between("2001:db8::ffff:ff00", "2001:db8::1:0:0:10");
    Tuple reply = flow("2001:db8::1", 80, "2001:db8::2", 4000);
    for (std::uint8_t& byte : reply.src.bytes) byte = *rc::gen::arbitrary<std::uint8_t>();
    Gateway gateway(64);
    const Passed out = gateway.send(packet_of(mirrored(reply)), {.src = range});
    RC_ASSERT(out.tuple().src >= range.min_address && out.tuple().src <= range.max_address);
  }));
}

TEST(Nat, EchoIdsAreTranslatedLikePorts) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1")};
  const Tuple one = ping("10.0.0.1", "192.0.2.1", 77);
  const Tuple two = ping("10.0.0.2", "192.0.2.1", 77);
  const Passed first = gateway.send(packet_of(one), rules);
  const Passed second = gateway.send(packet_of(two), rules);
  EXPECT_EQ(first.tuple().src_port.host(), 77);
  EXPECT_NE(second.tuple().src_port.host(), 77);
  EXPECT_EQ(gateway.entry(two).status & status::kNatMask, status::kSrcNat);
  EXPECT_EQ(gateway.send(packet_of(answer_to(second.tuple()))).tuple(), answer_to(two));
  EXPECT_EQ(gateway.send(packet_of(answer_to(first.tuple()))).tuple(), answer_to(one));
}

/// The error that `from` sends about a packet, to its source.
Octets unreachable(const char* from, const Octets& about) {
  const Tuple t = test::tuple_of(about);
  return test::error(t.family, ip(from), t.src, about, 100);
}

TEST(Nat, ErrorsAboutATranslatedSource) {
  Gateway gateway;
  const Octets sent = packet_of(kQuery);
  const Passed out = gateway.send(sent, {.src = to("203.0.113.1")});
  const Passed back = gateway.send(unreachable("192.0.2.254", out.packet->datagram()));
  ASSERT_EQ(back.packet->packet.ct.info, CtInfo::related_reply);
  EXPECT_EQ(back.tuple().dst, ip("10.0.0.1"));
  EXPECT_EQ(back.tuple().src, ip("192.0.2.254"));
  EXPECT_TRUE(std::equal(sent.begin(), sent.end(), back.packet->datagram().begin() + 28));
}

// The other way: the client can't be reached with an answer, and tells the server so.
TEST(Nat, ErrorsFromTheTranslatedSide) {
  Gateway gateway;
  const Passed out = gateway.send(packet_of(kQuery), {.src = to("203.0.113.1")});
  const Octets answer = packet_of(answer_to(out.tuple()));
  const Passed in = gateway.send(answer);
  const Passed error = gateway.send(unreachable("10.0.0.1", in.packet->datagram()));
  ASSERT_EQ(error.packet->packet.ct.info, CtInfo::related);
  EXPECT_EQ(error.tuple().src, ip("203.0.113.1"));
  EXPECT_EQ(error.tuple().dst, ip("192.0.2.53"));
  EXPECT_TRUE(std::equal(answer.begin(), answer.end(), error.packet->datagram().begin() + 28));
}

TEST(Nat, ErrorsAboutATranslatedDestination) {
  Gateway gateway;
  const Octets sent = packet_of(flow("198.51.100.9", 4000, "203.0.113.1", 80));
  const Passed in = gateway.send(sent, {.dst = to("10.0.0.8", 8080, 8080)});
  const Passed back = gateway.send(unreachable("10.0.0.8", in.packet->datagram()));
  EXPECT_EQ(back.tuple().src, ip("203.0.113.1"));
  EXPECT_EQ(back.tuple().dst, ip("198.51.100.9"));
  EXPECT_TRUE(std::equal(sent.begin(), sent.end(), back.packet->datagram().begin() + 28));
}

TEST(Nat, RedirectsDoNotCrossTheTranslation) {
  Gateway gateway;
  const Passed out = gateway.send(packet_of(kQuery), {.src = to("203.0.113.1")});
  Octets redirect = unreachable("192.0.2.254", out.packet->datagram());
  redirect[20] = 5;  // From unreachable, host: type 3 less, so the checksum is too high by 0x0200.
  redirect[22] = static_cast<std::uint8_t>(redirect[22] - 2);
  Passed back = gateway.begin(redirect);
  back.packet->packet.ct = out.packet->packet.ct;
  back.packet->packet.ct.info = CtInfo::related_reply;
  EXPECT_FALSE(gateway.translate(back, {}));
  EXPECT_EQ(back.drop(), Drop::nat_redirect);
}

TEST(Nat, MasqueradeRemembersItsLink) {
  Gateway gateway;
  const Passed out = gateway.send(packet_of(kQuery), {.masquerade = ip("203.0.113.1")});
  EXPECT_EQ(out.tuple().src, ip("203.0.113.1"));
  const conntrack::Snapshot entry = gateway.entry(kQuery);
  EXPECT_TRUE(goes_with_link(entry, kWan));
  EXPECT_FALSE(goes_with_link(entry, kWan + 1));
  EXPECT_TRUE(goes_with_address(entry, kWan, Family::ip, ip("203.0.113.1")));
  EXPECT_FALSE(goes_with_address(entry, kWan, Family::ip, ip("203.0.113.2")));

  // The route has moved: the mapping is no longer good.
  const Passed moved = gateway.send(packet_of(kQuery), {.out_ifindex = kWan + 1});
  EXPECT_FALSE(moved.is_sent);
  EXPECT_EQ(moved.drop(), Drop::nat_link_changed);
  EXPECT_FALSE(gateway.table->find(kQuery, gateway.now));
}

TEST(Nat, MasqueradeLeavesTheUnspecifiedSourceAlone) {
  Gateway gateway;
  const Tuple dhcp = flow("0.0.0.0", 68, "192.0.2.1", 67);
  EXPECT_EQ(gateway.send(packet_of(dhcp), {.masquerade = ip("203.0.113.1")}).tuple(), dhcp);
}

TEST(Nat, ConfirmedConnectionsAreLeftAlone) {
  Gateway gateway;
  gateway.send(packet_of(kQuery));
  Passed again = gateway.begin(packet_of(kQuery));
  EXPECT_FALSE(
      gateway.nat->wants_setup(gateway.table->tracker(0), again.packet->packet, Manip::src));
  EXPECT_TRUE(gateway.nat->setup(gateway.table->tracker(0), again.packet->packet, Manip::src,
                                 to("203.0.113.1"), gateway.now));
  EXPECT_EQ(gateway.entry(kQuery).status & status::kNatMask, 0U);
}

// When the ports are used up by connections that are over, a SYN with a later number takes one's
// place.
TEST(Nat, FinishedTcpGivesItsPort) {
  Gateway gateway;
  const Rules rules{.src = to("203.0.113.1", 40000, 40000)};
  const Tuple old = flow("10.0.0.1", 4000, "192.0.2.80", 80, kTcp);
  const Passed syn = gateway.send(packet_of(old, 0x02, 1000), rules);
  const Tuple answer = answer_to(syn.tuple());
  gateway.send(packet_of(answer, 0x12, 5000, 1001));
  gateway.send(packet_of(old, 0x10, 1001, 5001));

  const Tuple next = flow("10.0.0.2", 4000, "192.0.2.80", 80, kTcp);
  EXPECT_FALSE(gateway.send(packet_of(next, 0x02, 2000), rules).is_sent);  // Still in use.

  gateway.send(packet_of(old, 0x11, 1001, 5001));
  gateway.send(packet_of(answer, 0x11, 5001, 1002));
  gateway.send(packet_of(old, 0x10, 1002, 5002));
  ASSERT_EQ(gateway.entry(old).tcp.phase, conntrack::TcpPhase::time_wait);
  EXPECT_FALSE(
      gateway.send(packet_of(next, 0x02, 900), rules).is_sent);  // Its number is not later.
  const Passed taken = gateway.send(packet_of(next, 0x02, 2000), rules);
  EXPECT_TRUE(taken.is_sent);
  EXPECT_EQ(port_of(taken), 40000);
  EXPECT_FALSE(gateway.table->find(old, gateway.now));
}

}  // namespace
}  // namespace weir::nat
