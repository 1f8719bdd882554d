#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

#include "rules/compiled.h"
#include "rules/data.h"
#include "rules/expr/tcp_option.h"
#include "rules/expr/test_bench.h"
#include "wire/checksum.h"

namespace weir::rules {
namespace {

using Octets = std::vector<std::uint8_t>;

/// TCP over IPv4 with an MSS option behind `padding` no-operations, right checksums, `mss` in host
/// order.
struct Syn {
  Octets frame;
  packet::Packet packet;

  Syn(std::uint16_t mss, unsigned padding) : frame(14 + 20 + 28) {
    std::uint8_t* const ip = frame.data() + 14;
    std::uint8_t* const tcp = ip + 20;
    const Octets header = {0x45, 0, 0, 48, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1};
    std::copy(header.begin(), header.end(), ip);
    store(ip + 10, wire::finish(wire::sum(Bytes(ip, 20))));
    tcp[1] = 80, tcp[3] = 22, tcp[12] = 0x70, tcp[13] = 2;
    for (unsigned i = 20; i < 28; ++i) tcp[i] = 1;
    tcp[20 + padding] = 2, tcp[21 + padding] = 4;
    store(tcp + 22 + padding, Be16::from_host(mss));
    packet.buffer = frame.data();
    packet.capacity_bytes = packet.length = static_cast<std::uint32_t>(frame.size());
    packet.family = wire::Family::ip;
    packet.l3_offset = 14, packet.l4_offset = 34, packet.ip_length = 48, packet.l4_protocol = 6;
    store(tcp + 16, wire::finish(whole()));
  }
  wire::Sum whole() const {
    return wire::pseudo_header(wire::Family::ip, frame.data() + 14, 6, 28) + wire::sum(packet.l4());
  }
  bool has_right_checksums() const {
    return wire::finish(whole()).raw == 0 &&
           wire::finish(wire::sum(Bytes(frame.data() + 14, 20))).raw == 0;
  }
};

TEST(TcpOption, MssIsLoweredAtAnyOffsetAndNeverRaised) {
  for (unsigned padding = 0; padding < 4; ++padding) {
    Syn syn(1460, padding);
    const auto place = find_tcp_option(syn.packet, 2);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->offset, 20 + padding);
    const Be16 higher = Be16::from_host(1461);
    write_tcp_option(syn.packet, place->offset + 2, 2, as_bytes(higher));
    EXPECT_EQ(load<Be16>(syn.packet.l4().data() + 22 + padding).host(), 1460);
    const Be16 lower = Be16::from_host(1212);
    write_tcp_option(syn.packet, place->offset + 2, 2, as_bytes(lower));
    EXPECT_EQ(load<Be16>(syn.packet.l4().data() + 22 + padding).host(), 1212);
    EXPECT_TRUE(syn.has_right_checksums()) << padding;
    strip_tcp_option(syn.packet, *place);
    EXPECT_FALSE(find_tcp_option(syn.packet, 2));
    EXPECT_TRUE(syn.has_right_checksums()) << padding;
  }
}

TEST(Payload, WritingAnAddressKeepsBothChecksums) {
  Bench bench;
  const auto write = bench.parse("payload", [](netlink::Writer& writer) {
    writer.put_be32(NFTA_PAYLOAD_SREG, std::uint32_t{NFT_REG_1});
    writer.put_be32(NFTA_PAYLOAD_BASE, std::uint32_t{NFT_PAYLOAD_NETWORK_HEADER});
    writer.put_be32(NFTA_PAYLOAD_OFFSET, 12u);
    writer.put_be32(NFTA_PAYLOAD_LEN, 4u);
    writer.put_be32(NFTA_PAYLOAD_CSUM_TYPE, std::uint32_t{NFT_PAYLOAD_CSUM_INET});
    writer.put_be32(NFTA_PAYLOAD_CSUM_OFFSET, 10u);
    writer.put_be32(NFTA_PAYLOAD_CSUM_FLAGS, std::uint32_t{NFT_PAYLOAD_L4CSUM_PSEUDOHDR});
  });
  ASSERT_TRUE(write) << write.error().text;
  rc::check([&](std::uint32_t address) {
    Syn syn(1460, 0);
    Registers registers;
    registers.set_u32(kFirstDataRegister, address);
    Context context{.packet = &syn.packet};
    (*write)->eval(registers, context);
    RC_ASSERT(registers.verdict.code == VerdictCode::next);
    RC_ASSERT(load<std::uint32_t>(syn.packet.l3().data() + 12) == address);
    RC_ASSERT(syn.has_right_checksums());
  });
}

TEST(Payload, TransportOfALaterFragmentDoesNotMatch) {
  Bench bench;
  const auto read = bench.parse("payload", [](netlink::Writer& writer) {
    writer.put_be32(NFTA_PAYLOAD_DREG, std::uint32_t{NFT_REG_1});
    writer.put_be32(NFTA_PAYLOAD_BASE, std::uint32_t{NFT_PAYLOAD_TRANSPORT_HEADER});
    writer.put_be32(NFTA_PAYLOAD_OFFSET, 2u);
    writer.put_be32(NFTA_PAYLOAD_LEN, 2u);
  });
  ASSERT_TRUE(read) << read.error().text;
  Syn syn(1460, 0);
  Registers registers;
  Context context{.packet = &syn.packet};
  (*read)->eval(registers, context);
  EXPECT_EQ(registers.u16(kFirstDataRegister), Be16::from_host(22).raw);
  syn.packet.is_later_fragment = true;
  (*read)->eval(registers, context);
  EXPECT_EQ(registers.verdict.code, VerdictCode::fail);
}

TEST(Cmp, CompiledAndInterpretedAgree) {
  Bench bench;
  rc::check([&](std::uint32_t value, std::uint32_t wanted, bool is_equal, bool is_negated) {
    if (is_equal) wanted = value;
    const std::size_t length = *rc::gen::inRange<std::size_t>(1, 5);
    const auto cmp = bench.parse("cmp", [&](netlink::Writer& writer) {
      writer.put_be32(NFTA_CMP_SREG, std::uint32_t{NFT_REG32_01});
      writer.put_be32(NFTA_CMP_OP, std::uint32_t(is_negated ? NFT_CMP_NEQ : NFT_CMP_EQ));
      write_value(writer, NFTA_CMP_DATA, as_bytes(wanted).first(length));
    });
    RC_ASSERT(cmp.has_value());
    Registers registers;
    registers.set_u32(kFirstDataRegister + 1, value);
    Context context;
    (*cmp)->eval(registers, context);
    const bool matches = registers.verdict.code == VerdictCode::next;

    Op op;
    RC_ASSERT((*cmp)->compile(op));
    const bool is_same = (value & op.mask) == op.value;
    RC_ASSERT(matches == (op.kind == Op::Kind::match ? is_same : !is_same));
  });
}

TEST(Expression, BlamesWhatItDoesNotKnow) {
  Bench bench;
  const auto unknown = bench.parse("osf", [](netlink::Writer&) {});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, EOPNOTSUPP);
  EXPECT_NE(unknown.error().text.find("osf"), std::string::npos);
  const auto past_the_end = bench.parse("payload", [](netlink::Writer& writer) {
    writer.put_be32(NFTA_PAYLOAD_DREG, std::uint32_t{NFT_REG32_15});
    writer.put_be32(NFTA_PAYLOAD_BASE, 1u);
    writer.put_be32(NFTA_PAYLOAD_OFFSET, 0u);
    writer.put_be32(NFTA_PAYLOAD_LEN, 5u);
  });
  ASSERT_FALSE(past_the_end);
  EXPECT_EQ(past_the_end.error().code, ERANGE);
}

}  // namespace
}  // namespace weir::rules
