#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <vector>

#include "rules/context.h"
#include "rules/expr/test_bench.h"
#include "rules/registers.h"

/// Expressions with a state of their own, and small ones that look at the packet alone.
namespace weir::rules {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart = Time(1000s);

/// Whether the rule goes on behind the expression.
bool passes(const Expression& expression, packet::Packet& packet, Time now = kStart) {
  Registers registers;
  Context context{.packet = &packet, .hook = Hook::forward, .now = now};
  expression.eval(registers, context);
  return registers.verdict.code != VerdictCode::fail;
}

packet::Packet packet_of(std::uint16_t bytes) {
  packet::Packet packet;
  packet.family = wire::Family::ip;
  packet.length = bytes;
  packet.ip_length = bytes;
  return packet;
}

struct LimitSpec {
  std::uint64_t rate;
  std::uint64_t unit_s;
  std::uint32_t burst;
  bool is_bytes = false;
  bool is_inverted = false;
};

std::unique_ptr<Expression> limit(Bench& bench, const LimitSpec& spec) {
  auto parsed = bench.parse("limit", [&](netlink::Writer& writer) {
    writer.put_be64(NFTA_LIMIT_RATE, spec.rate);
    writer.put_be64(NFTA_LIMIT_UNIT, spec.unit_s);
    writer.put_be32(NFTA_LIMIT_BURST, spec.burst);
    writer.put_be32(NFTA_LIMIT_TYPE,
                    std::uint32_t{spec.is_bytes ? NFT_LIMIT_PKT_BYTES : NFT_LIMIT_PKTS});
    writer.put_be32(NFTA_LIMIT_FLAGS, spec.is_inverted ? std::uint32_t{NFT_LIMIT_F_INV} : 0u);
  });
  EXPECT_TRUE(parsed) << parsed.error().text;
  return std::move(*parsed);
}

int passed(const Expression& expression, int packets, Time now, std::uint16_t bytes = 100) {
  packet::Packet packet = packet_of(bytes);
  int count = 0;
  for (int i = 0; i < packets; ++i) count += passes(expression, packet, now);
  return count;
}

TEST(Limit, ABurstPassesThenTheRate) {
  Bench bench;
  const auto four_a_second = limit(bench, {.rate = 4, .unit_s = 1, .burst = 5});
  EXPECT_EQ(passed(*four_a_second, 20, kStart), 5);
  EXPECT_EQ(passed(*four_a_second, 1, kStart + 249ms), 0);
  EXPECT_EQ(passed(*four_a_second, 9, kStart + 250ms), 1);
  EXPECT_EQ(passed(*four_a_second, 9, kStart + 1s), 3);
  EXPECT_EQ(passed(*four_a_second, 99, kStart + 1h), 5) << "never more than the burst";
  EXPECT_EQ(passed(*four_a_second, 9, kStart), 0) << "a batch with an older clock earns nothing";
}

TEST(Limit, OverIsTheOpposite) {
  Bench bench;
  const auto over = limit(bench, {.rate = 1, .unit_s = 60, .burst = 3, .is_inverted = true});
  EXPECT_EQ(passed(*over, 10, kStart), 7);
  EXPECT_EQ(passed(*over, 10, kStart + 60s), 9);
}

TEST(Limit, BytesCountTheIpPacket) {
  Bench bench;
  const auto bytes = limit(bench, {.rate = 1000, .unit_s = 1, .burst = 500, .is_bytes = true});
  EXPECT_EQ(passed(*bytes, 10, kStart, 300), 5) << "rate and burst are there at once";
  EXPECT_EQ(passed(*bytes, 10, kStart + 300ms, 300), 1);
}

TEST(Limit, RefusesWhatItCantCount) {
  Bench bench;
  const auto refused = [&](std::uint64_t rate, std::uint64_t unit, std::uint32_t type) {
    const auto parsed = bench.parse("limit", [&](netlink::Writer& writer) {
      writer.put_be64(NFTA_LIMIT_RATE, rate);
      writer.put_be64(NFTA_LIMIT_UNIT, unit);
      writer.put_be32(NFTA_LIMIT_TYPE, type);
    });
    return parsed ? 0 : parsed.error().code;
  };
  EXPECT_EQ(refused(0, 1, NFT_LIMIT_PKTS), EINVAL);
  EXPECT_EQ(refused(1, UINT64_MAX / 1000, NFT_LIMIT_PKTS), EOVERFLOW);
  EXPECT_EQ(refused(1, 1, 2), EOPNOTSUPP);
}

TEST(Quota, UntilAndOver) {
  Bench bench;
  for (const bool is_over : {false, true}) {
    const auto quota = bench.parse("quota", [&](netlink::Writer& writer) {
      writer.put_be64(NFTA_QUOTA_BYTES, std::uint64_t{1000});
      writer.put_be64(NFTA_QUOTA_CONSUMED, std::uint64_t{100});
      writer.put_be32(NFTA_QUOTA_FLAGS, is_over ? std::uint32_t{NFT_QUOTA_F_INV} : 0u);
    });
    ASSERT_TRUE(quota);
    // Nine packets of 100 bytes fill it to the brim, which is not over.
    EXPECT_EQ(passed(**quota, 9, kStart), is_over ? 0 : 9);
    EXPECT_EQ(passed(**quota, 5, kStart), is_over ? 5 : 0);
  }
}

TEST(Numgen, CountsRoundOrSpreads) {
  Bench bench;
  const auto generator = [&](std::uint32_t type) {
    auto parsed = bench.parse("numgen", [&](netlink::Writer& writer) {
      writer.put_be32(NFTA_NG_DREG, std::uint32_t{NFT_REG_1});
      writer.put_be32(NFTA_NG_MODULUS, 3u);
      writer.put_be32(NFTA_NG_TYPE, type);
      writer.put_be32(NFTA_NG_OFFSET, 10u);
    });
    EXPECT_TRUE(parsed);
    return std::move(*parsed);
  };
  const auto draw = [](const Expression& expression) {
    Registers registers;
    Context context;
    expression.eval(registers, context);
    return registers.u32(kFirstDataRegister);
  };
  const auto counter = generator(NFT_NG_INCREMENTAL);
  for (const std::uint32_t expected : {10u, 11u, 12u, 10u, 11u}) {
    EXPECT_EQ(draw(*counter), expected);
  }
  const auto dice = generator(NFT_NG_RANDOM);
  std::vector<int> seen(3);
  for (int i = 0; i < 3000; ++i) {
    const std::uint32_t number = draw(*dice);
    ASSERT_TRUE(number >= 10 && number < 13);
    ++seen[number - 10];
  }
  for (const int count : seen) EXPECT_NEAR(count, 1000, 200);
}

TEST(Notrack, LeavesATrackedPacketAlone) {
  Bench bench;
  const auto notrack = bench.parse("notrack", [](netlink::Writer&) {});
  ASSERT_TRUE(notrack);
  packet::Packet packet = packet_of(100);
  EXPECT_TRUE(passes(**notrack, packet));
  EXPECT_EQ(packet.ct.state, packet::CtState::untracked);
  packet.ct.state = packet::CtState::tracked;
  passes(**notrack, packet);
  EXPECT_EQ(packet.ct.state, packet::CtState::tracked);
}

TEST(Rt, NextHopOfARoutedPacket) {
  Bench bench;
  const auto rt = [&](std::uint32_t key) {
    auto parsed = bench.parse("rt", [&](netlink::Writer& writer) {
      writer.put_be32(NFTA_RT_DREG, std::uint32_t{NFT_REG_1});
      writer.put_be32(NFTA_RT_KEY, key);
    });
    EXPECT_TRUE(parsed);
    return std::move(*parsed);
  };
  const auto next_hop = rt(NFT_RT_NEXTHOP4);
  packet::Packet packet = packet_of(100);
  EXPECT_FALSE(passes(*next_hop, packet)) << "not routed yet";
  packet.next_hop_family = wire::Family::ip;
  packet.next_hop = wire::Address::ip(0xc0000201u);
  Registers registers;
  Context context{.packet = &packet, .hook = Hook::forward};
  next_hop->eval(registers, context);
  EXPECT_EQ(load<Be32>(registers.bytes(kFirstDataRegister)).host(), 0xc0000201u);
  EXPECT_FALSE(passes(*rt(NFT_RT_NEXTHOP6), packet)) << "an IPv4 packet has no IPv6 next hop";
}

}  // namespace
}  // namespace weir::rules
