#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>

#include "control/ctnetlink/attributes.h"

/// Tuples that requests name.
namespace weir::control::ctnetlink {
namespace {

using conntrack::Tuple;
using netlink::Attributes;
using netlink::Kind;

constexpr netlink::Rule kTuple[] = {
    {.type = CTA_TUPLE_IP, .kind = Kind::nested},
    {.type = CTA_TUPLE_PROTO, .kind = Kind::nested},
    {.type = CTA_TUPLE_ZONE, .kind = Kind::u16},
};
constexpr netlink::Rule kAddresses[] = {
    {.type = CTA_IP_V4_SRC, .kind = Kind::u32},
    {.type = CTA_IP_V4_DST, .kind = Kind::u32},
    {.type = CTA_IP_V6_SRC, .min_bytes = 16},
    {.type = CTA_IP_V6_DST, .min_bytes = 16},
};
constexpr netlink::Rule kProtocolRules[] = {
    {.type = CTA_PROTO_NUM, .kind = Kind::u8},
    {.type = CTA_PROTO_SRC_PORT, .kind = Kind::u16},
    {.type = CTA_PROTO_DST_PORT, .kind = Kind::u16},
    {.type = CTA_PROTO_ICMP_ID, .kind = Kind::u16},
    {.type = CTA_PROTO_ICMP_TYPE, .kind = Kind::u8},
    {.type = CTA_PROTO_ICMP_CODE, .kind = Kind::u8},
    {.type = CTA_PROTO_ICMPV6_ID, .kind = Kind::u16},
    {.type = CTA_PROTO_ICMPV6_TYPE, .kind = Kind::u8},
    {.type = CTA_PROTO_ICMPV6_CODE, .kind = Kind::u8},
};

/// What a protocol needs: an attribute for a part that the request compares.
struct Need {
  TupleParts part;
  std::uint16_t type;
};
constexpr Need kPortNeeds[] = {
    {kSourcePort, CTA_PROTO_SRC_PORT},
    {kDestinationPort, CTA_PROTO_DST_PORT},
};
constexpr Need kIcmpNeeds[] = {
    {kIcmpType, CTA_PROTO_ICMP_TYPE},
    {kIcmpCode, CTA_PROTO_ICMP_CODE},
    {kIcmpId, CTA_PROTO_ICMP_ID},
};
constexpr Need kIcmp6Needs[] = {
    {kIcmp6Type, CTA_PROTO_ICMPV6_TYPE},
    {kIcmp6Code, CTA_PROTO_ICMPV6_CODE},
    {kIcmp6Id, CTA_PROTO_ICMPV6_ID},
};

Result<void> demand(const Attributes& attributes, std::span<const Need> needs, TupleParts parts) {
  for (const Need& need : needs) {
    if (parts & need.part && !attributes.has(need.type)) {
      return std::unexpected(attributes.missing(need.type));
    }
  }
  return {};
}

Result<void> read_addresses(const Attributes& outer, TupleParts parts, Tuple& tuple) {
  if (!(parts & (kSource | kDestination))) return {};
  if (!outer.has(CTA_TUPLE_IP)) return std::unexpected(outer.missing(CTA_TUPLE_IP));
  const auto attributes = Attributes::parse(outer.nested(CTA_TUPLE_IP), kAddresses);
  if (!attributes) return std::unexpected(attributes.error());
  const bool is_ip = tuple.family == wire::Family::ip;
  const std::uint16_t source = is_ip ? CTA_IP_V4_SRC : CTA_IP_V6_SRC;
  const std::uint16_t destination = is_ip ? CTA_IP_V4_DST : CTA_IP_V6_DST;
  const Need needs[] = {{kSource, source}, {kDestination, destination}};
  if (auto present = demand(*attributes, needs, parts); !present) return present;
  const std::size_t bytes = wire::address_bytes(tuple.family);
  if (parts & kSource) tuple.src = wire::Address::from(attributes->raw(source).first(bytes));
  if (parts & kDestination) {
    tuple.dst = wire::Address::from(attributes->raw(destination).first(bytes));
  }
  return {};
}

Result<void> read_icmp(const Attributes& attributes, std::span<const Need> needs, TupleParts parts,
                       Tuple& tuple) {
  if (auto present = demand(attributes, needs, parts); !present) return present;
  const std::uint16_t type = needs[0].type, code = needs[1].type, id = needs[2].type;
  tuple.src_port = attributes.be16(id);
  tuple.dst_port =
      Be16::from_host(static_cast<std::uint16_t>(attributes.u8(type) << 8 | attributes.u8(code)));
  return {};
}

Result<void> read_protocol(const Attributes& outer, TupleParts parts, Tuple& tuple) {
  if (!(parts & kProtocol)) return {};
  if (!outer.has(CTA_TUPLE_PROTO)) return std::unexpected(outer.missing(CTA_TUPLE_PROTO));
  const auto attributes = Attributes::parse(outer.nested(CTA_TUPLE_PROTO), kProtocolRules);
  if (!attributes) return std::unexpected(attributes.error());
  if (!attributes->has(CTA_PROTO_NUM)) return std::unexpected(attributes->missing(CTA_PROTO_NUM));
  tuple.protocol = attributes->u8(CTA_PROTO_NUM);
  switch (tuple.protocol) {
    case IPPROTO_ICMP:
      return read_icmp(*attributes, kIcmpNeeds, parts, tuple);
    case IPPROTO_ICMPV6:
      return read_icmp(*attributes, kIcmp6Needs, parts, tuple);
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
    case IPPROTO_GRE: {
      if (auto present = demand(*attributes, kPortNeeds, parts); !present) return present;
      tuple.src_port = attributes->be16(CTA_PROTO_SRC_PORT);
      tuple.dst_port = attributes->be16(CTA_PROTO_DST_PORT);
      return {};
    }
    default:
      return {};
  }
}

}  // namespace

Result<Tuple> read_tuple(const netlink::Attribute& attribute, std::uint8_t family,
                         std::uint16_t zone, TupleParts parts) {
  if (family != AF_INET && family != AF_INET6) {
    return std::unexpected(attribute.error(EOPNOTSUPP, "only IPv4 and IPv6 are tracked"));
  }
  const auto attributes = Attributes::parse(attribute.nested(), kTuple);
  if (!attributes) return std::unexpected(attributes.error());
  Tuple tuple;
  tuple.family = static_cast<wire::Family>(family);
  tuple.zone = attributes->has(CTA_TUPLE_ZONE) ? attributes->be16(CTA_TUPLE_ZONE).host() : zone;
  if (auto read = read_addresses(*attributes, parts, tuple); !read) {
    return std::unexpected(std::move(read).error());
  }
  if (auto read = read_protocol(*attributes, parts, tuple); !read) {
    return std::unexpected(std::move(read).error());
  }
  return tuple;
}

}  // namespace weir::control::ctnetlink
