#include "rules/expr/exthdr.h"

#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "rules/data.h"
#include "rules/expr/header_base.h"
#include "rules/expr/tcp_option.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/udp.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_EXTHDR_DREG, .kind = netlink::Kind::u32},
    {.type = NFTA_EXTHDR_TYPE, .kind = netlink::Kind::u8, .required = true},
    {.type = NFTA_EXTHDR_OFFSET, .kind = netlink::Kind::u32, .max_value = 255},
    {.type = NFTA_EXTHDR_LEN, .kind = netlink::Kind::u32, .max_value = 255},
    {.type = NFTA_EXTHDR_FLAGS, .kind = netlink::Kind::u32},
    {.type = NFTA_EXTHDR_OP, .kind = netlink::Kind::u32, .max_value = 255},
    {.type = NFTA_EXTHDR_SREG, .kind = netlink::Kind::u32},
};

/// What all three kinds of use have in common.
struct Field {
  std::uint8_t type = 0;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t flags = 0;
  std::uint32_t operation = NFT_EXTHDR_OP_IPV6;

  bool asks_presence() const { return flags & NFT_EXTHDR_F_PRESENT; }
};

void dump_field(netlink::Writer& writer, const Field& field) {
  writer.put_u8(NFTA_EXTHDR_TYPE, field.type);
  writer.put_be32(NFTA_EXTHDR_OFFSET, field.offset);
  writer.put_be32(NFTA_EXTHDR_LEN, field.length);
  writer.put_be32(NFTA_EXTHDR_FLAGS, field.flags);
  writer.put_be32(NFTA_EXTHDR_OP, field.operation);
}

/// Where the extension header of the type begins, from the frame's first byte (ipv6_find_hdr).
std::optional<std::uint32_t> find_ipv6_header(const packet::Packet& packet, std::uint8_t type) {
  if (packet.family != wire::Family::ip6) return std::nullopt;
  const Bytes datagram = packet.l3();
  std::uint8_t next = datagram[6];
  std::uint32_t at = sizeof(wire::Ipv6);
  for (unsigned i = 0; i < wire::kMaxExtensionHeaders; ++i) {
    if (next == type) return packet.l3_offset + at;
    if (!wire::is_extension_header(next) || at + 8 > datagram.size()) return std::nullopt;
    const bool is_fragment = next == IPPROTO_FRAGMENT;
    if (is_fragment && (load<Be16>(datagram.data() + at + 2).host() & 0xfff8) != 0) {
      return std::nullopt;
    }
    const std::size_t bytes =
        is_fragment ? 8 : wire::extension_header_bytes(next, datagram[at + 1]);
    next = datagram[at];
    at += static_cast<std::uint32_t>(bytes);
  }
  return std::nullopt;
}

/// Where the IPv4 option of the type begins, from the frame's first byte (ipv4_find_option).
std::optional<std::uint32_t> find_ipv4_option(const packet::Packet& packet, std::uint8_t type) {
  if (packet.family != wire::Family::ip) return std::nullopt;
  const Bytes datagram = packet.l3();
  const std::size_t header_bytes = (datagram[0] & 0xf) * 4u;
  if (header_bytes <= sizeof(wire::Ipv4) || header_bytes > datagram.size()) return std::nullopt;
  wire::OptionWalk walk(datagram.subspan(sizeof(wire::Ipv4), header_bytes - sizeof(wire::Ipv4)));
  while (walk.next()) {
    if (walk.kind() != type) continue;
    return static_cast<std::uint32_t>(packet.l3_offset + sizeof(wire::Ipv4) + walk.offset());
  }
  return std::nullopt;
}

/// Where the first chunk of the type begins in an SCTP packet, from the frame's first byte; nothing
/// when the field that is asked for lies outside it (nft_exthdr_sctp_eval).
std::optional<std::uint32_t> find_sctp_chunk(const packet::Packet& packet, const Field& field) {
  if (packet.l4_protocol != IPPROTO_SCTP || !has_transport(packet)) return std::nullopt;
  const Bytes l4 = packet.l4();
  for (std::size_t at = sizeof(wire::Sctp); at + 4 <= l4.size();) {
    const std::uint32_t bytes = load<Be16>(&l4[at + 2]).host();
    if (bytes == 0) break;
    if (l4[at] == field.type) {
      const bool has_field = field.offset + field.length <= bytes && at + bytes <= l4.size();
      if (!field.asks_presence() && !has_field) break;
      return static_cast<std::uint32_t>(packet.l4_offset + at);
    }
    at += (bytes + 3) / 4 * 4;
  }
  return std::nullopt;
}

/// Where the option of the type begins in a DCCP header, likewise (nft_exthdr_dccp_eval, RFC 4340
/// section 5.8).
std::optional<std::uint32_t> find_dccp_option(const packet::Packet& packet, std::uint8_t type) {
  constexpr std::uint8_t kLastOfOneByte = 31;
  if (packet.l4_protocol != IPPROTO_DCCP || !has_transport(packet)) return std::nullopt;
  const Bytes l4 = packet.l4();
  const std::size_t begin = wire::dccp_fixed_bytes(l4);
  if (begin == 0) return std::nullopt;
  const std::size_t end = std::min(wire::at<wire::Dccp>(l4.data()).header_bytes(), l4.size());
  for (std::size_t at = begin; at < end;) {
    if (l4[at] == type) return static_cast<std::uint32_t>(packet.l4_offset + at);
    if (l4[at] <= kLastOfOneByte) {
      ++at;
    } else if (at + 1 < end && l4[at + 1] >= 2) {
      at += l4[at + 1];
    } else {
      break;
    }
  }
  return std::nullopt;
}

class ExthdrRead final : public Expression {
 public:
  ExthdrRead(const Field& field, RegisterIndex destination)
      : field_(field), destination_(destination) {}

  const ExpressionKind& kind() const override { return kExthdr; }

  void eval(Registers& registers, Context& context) const override {
    const packet::Packet& packet = *context.packet;
    const auto at = locate(packet);
    if (field_.asks_presence()) {
      registers.set_u32(destination_, at ? 1 : 0);
      return;
    }
    if (!at || *at + field_.offset + field_.length > readable_end(packet)) return registers.fail();
    registers.set(destination_, Bytes(packet.frame() + *at + field_.offset, field_.length));
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_EXTHDR_DREG, destination_);
    dump_field(writer, field_);
  }

 private:
  std::optional<std::uint32_t> locate(const packet::Packet& packet) const {
    switch (field_.operation) {
      case NFT_EXTHDR_OP_IPV6:
        return find_ipv6_header(packet, field_.type);
      case NFT_EXTHDR_OP_IPV4:
        return find_ipv4_option(packet, field_.type);
      case NFT_EXTHDR_OP_SCTP:
        return find_sctp_chunk(packet, field_);
      case NFT_EXTHDR_OP_DCCP:
        return find_dccp_option(packet, field_.type);
      default:
        return locate_tcp(packet);
    }
  }

  std::optional<std::uint32_t> locate_tcp(const packet::Packet& packet) const {
    const auto option = find_tcp_option(packet, field_.type);
    if (!option || option->offset + option->length > tcp_header_bytes(packet) ||
        field_.offset + field_.length > option->length) {
      return std::nullopt;
    }
    return packet.l4_offset + option->offset;
  }

  Field field_;
  RegisterIndex destination_;
};

class TcpOptionWrite final : public Expression {
 public:
  TcpOptionWrite(const Field& field, RegisterIndex source) : field_(field), source_(source) {}

  const ExpressionKind& kind() const override { return kExthdr; }

  /// A segment without the option goes on to the rule's next expression, as in the kernel.
  void eval(Registers& registers, Context& context) const override {
    packet::Packet& packet = *context.packet;
    const std::uint32_t header_bytes = tcp_header_bytes(packet);
    if (header_bytes == 0) return registers.fail();
    const auto option = find_tcp_option(packet, field_.type);
    if (!option) return;
    if (option->offset + option->length > header_bytes ||
        field_.offset + field_.length > option->length) {
      return registers.fail();
    }
    write_tcp_option(packet, option->offset + field_.offset, field_.type,
                     registers.view(source_, field_.length));
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_EXTHDR_SREG, source_);
    dump_field(writer, field_);
  }

 private:
  Field field_;
  RegisterIndex source_;
};

class TcpOptionStrip final : public Expression {
 public:
  explicit TcpOptionStrip(const Field& field) : field_(field) {}

  const ExpressionKind& kind() const override { return kExthdr; }

  void eval(Registers& registers, Context& context) const override {
    packet::Packet& packet = *context.packet;
    const std::uint32_t header_bytes = tcp_header_bytes(packet);
    if (header_bytes == 0) return registers.fail();
    const auto option = find_tcp_option(packet, field_.type);
    if (!option) return;
    if (option->offset + option->length > header_bytes) {
      registers.verdict = Verdict::of(VerdictCode::drop);
      return;
    }
    strip_tcp_option(packet, *option);
  }

  void dump(netlink::Writer& writer, DumpMode) const override { dump_field(writer, field_); }

 private:
  Field field_;
};

Result<std::unique_ptr<Expression>> make_write(const netlink::Attributes& attributes,
                                               const Field& field) {
  if (field.operation != NFT_EXTHDR_OP_TCPOPT) {
    return std::unexpected(
        attributes.error(NFTA_EXTHDR_OP, EOPNOTSUPP, "only TCP options can be written"));
  }
  if (field.length != 2 && field.length != 4) {
    return std::unexpected(
        attributes.error(NFTA_EXTHDR_LEN, EOPNOTSUPP, "only 2 or 4 bytes can be written"));
  }
  const auto source = parse_source(attributes.find(NFTA_EXTHDR_SREG), field.length);
  if (!source) return std::unexpected(source.error());
  return std::make_unique<TcpOptionWrite>(field, *source);
}

Result<std::unique_ptr<Expression>> make_read(const netlink::Attributes& attributes,
                                              const Field& field) {
  const auto destination = parse_destination(attributes.find(NFTA_EXTHDR_DREG), field.length);
  if (!destination) return std::unexpected(destination.error());
  if (field.operation == NFT_EXTHDR_OP_IPV4) {
    switch (field.type) {
      case wire::ipv4_option::kStrictSourceRoute:
      case wire::ipv4_option::kLooseSourceRoute:
      case wire::ipv4_option::kRecordRoute:
      case wire::ipv4_option::kRouterAlert:
        break;
      default:
        return std::unexpected(
            attributes.error(NFTA_EXTHDR_TYPE, EOPNOTSUPP, "no such IPv4 option can be read"));
    }
  }
  if (field.operation == NFT_EXTHDR_OP_DCCP && !field.asks_presence()) {
    return std::unexpected(
        attributes.error(NFTA_EXTHDR_FLAGS, EOPNOTSUPP, "DCCP options can't be read, only found"));
  }
  return std::make_unique<ExthdrRead>(field, *destination);
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  Field field{.type = attributes->u8(NFTA_EXTHDR_TYPE),
              .offset = attributes->be32(NFTA_EXTHDR_OFFSET).host(),
              .length = attributes->be32(NFTA_EXTHDR_LEN).host(),
              .flags = attributes->be32(NFTA_EXTHDR_FLAGS).host()};
  if (attributes->has(NFTA_EXTHDR_OP)) field.operation = attributes->be32(NFTA_EXTHDR_OP).host();
  if (field.flags & ~std::uint32_t{NFT_EXTHDR_F_PRESENT}) {
    return std::unexpected(attributes->error(NFTA_EXTHDR_FLAGS, EINVAL, "unknown flags"));
  }
  if (field.operation > NFT_EXTHDR_OP_DCCP) {
    return std::unexpected(
        attributes->error(NFTA_EXTHDR_OP, EOPNOTSUPP, "no such kind of extension header"));
  }
  const bool reads = attributes->has(NFTA_EXTHDR_DREG);
  const bool writes = attributes->has(NFTA_EXTHDR_SREG);
  if (reads && writes) {
    return std::unexpected(
        attributes->error(NFTA_EXTHDR_DREG, EINVAL, "both a source and a destination"));
  }
  if (reads) return make_read(*attributes, field);
  if (writes) return make_write(*attributes, field);
  if (field.operation != NFT_EXTHDR_OP_TCPOPT) {
    return std::unexpected(
        attributes->error(NFTA_EXTHDR_OP, EOPNOTSUPP, "only TCP options can be removed"));
  }
  return std::make_unique<TcpOptionStrip>(field);
}

}  // namespace

const ExpressionKind kExthdr = {.name = "exthdr", .parse = parse};

}  // namespace weir::rules
