#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>

#include "conntrack/invert.h"
#include "control/ctnetlink/attributes.h"

/// Tuples that requests name.
namespace weir::control::ctnetlink {
namespace {

using conntrack::Tuple;
using netlink::Attributes;
using netlink::Kind;
using netlink::Region;

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
constexpr netlink::Rule kProtocolNumber[] = {
    {.type = CTA_PROTO_NUM, .kind = Kind::u8},
};
constexpr netlink::Rule kPorts[] = {
    {.type = CTA_PROTO_SRC_PORT, .kind = Kind::u16},
    {.type = CTA_PROTO_DST_PORT, .kind = Kind::u16},
};
constexpr netlink::Rule kIcmp[] = {
    {.type = CTA_PROTO_ICMP_ID, .kind = Kind::u16},
    {.type = CTA_PROTO_ICMP_TYPE, .kind = Kind::u8},
    {.type = CTA_PROTO_ICMP_CODE, .kind = Kind::u8},
};
constexpr netlink::Rule kIcmp6[] = {
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

Result<void> read_ports(const Region& region, TupleParts parts, Tuple& tuple) {
  const auto attributes = Attributes::parse(region, kPorts);
  if (!attributes) return std::unexpected(attributes.error());
  if (auto present = demand(*attributes, kPortNeeds, parts); !present) return present;
  tuple.src_port = attributes->be16(CTA_PROTO_SRC_PORT);
  tuple.dst_port = attributes->be16(CTA_PROTO_DST_PORT);
  return {};
}

/// An ICMP message that nobody answers begins no connection.
Result<void> read_icmp(const Region& region, TupleParts parts, Tuple& tuple) {
  const bool is_icmp6 = tuple.protocol == IPPROTO_ICMPV6;
  const auto attributes =
      is_icmp6 ? Attributes::parse(region, kIcmp6) : Attributes::parse(region, kIcmp);
  if (!attributes) return std::unexpected(attributes.error());
  const std::span<const Need> needs = is_icmp6 ? kIcmp6Needs : kIcmpNeeds;
  if (auto present = demand(*attributes, needs, parts); !present) return present;
  const std::uint16_t type = needs[0].type, code = needs[1].type, id = needs[2].type;
  tuple.src_port = attributes->be16(id);
  tuple.dst_port =
      Be16::from_host(static_cast<std::uint16_t>(attributes->u8(type) << 8 | attributes->u8(code)));
  if (parts & needs[0].part && !conntrack::invert(tuple)) {
    return std::unexpected(attributes->error(type, EINVAL, "no ICMP query or answer"));
  }
  return {};
}

constexpr TupleParts kProtocolParts =
    kAllParts & ~(kSource | kDestination | kTupleZone | kProtocol);

Result<void> read_protocol(const Attributes& outer, TupleParts parts, Tuple& tuple) {
  if (!(parts & kProtocol)) {
    if (!(parts & kProtocolParts)) return {};
    return std::unexpected(Error{EINVAL, "parts of a protocol, but not which protocol"});
  }
  if (!outer.has(CTA_TUPLE_PROTO)) return std::unexpected(outer.missing(CTA_TUPLE_PROTO));
  const Region region = outer.nested(CTA_TUPLE_PROTO);
  const auto attributes = Attributes::parse(region, kProtocolNumber);
  if (!attributes) return std::unexpected(attributes.error());
  if (!attributes->has(CTA_PROTO_NUM)) return std::unexpected(attributes->missing(CTA_PROTO_NUM));
  tuple.protocol = attributes->u8(CTA_PROTO_NUM);
  if (tuple.protocol == IPPROTO_ICMP || tuple.protocol == IPPROTO_ICMPV6) {
    return read_icmp(region, parts, tuple);
  }
  return has_ports(tuple.protocol) ? read_ports(region, parts, tuple) : Result<void>{};
}

Result<void> read_tuple_zone(const Attributes& attributes, std::uint16_t tuple_type, Zone* zone) {
  if (!attributes.has(CTA_TUPLE_ZONE)) return {};
  if (!zone || zone->original || zone->reply) {
    return std::unexpected(attributes.error(CTA_TUPLE_ZONE, EINVAL, "a second zone"));
  }
  const std::uint16_t id = attributes.be16(CTA_TUPLE_ZONE).host();
  (tuple_type == CTA_TUPLE_REPLY ? zone->reply : zone->original) = id;
  return {};
}

}  // namespace

Zone Zone::read(const Attributes& attributes) {
  const std::uint16_t id = attributes.be16(CTA_ZONE).host();
  return {.original = id, .reply = id};
}

Result<Tuple> read_tuple(const netlink::Attribute& attribute, std::uint8_t family, Zone* zone,
                         TupleParts parts) {
  const auto attributes = Attributes::parse(attribute.nested(), kTuple);
  if (!attributes) return std::unexpected(attributes.error());
  if (family != AF_INET && family != AF_INET6) {
    return std::unexpected(attribute.error(EOPNOTSUPP, "only IPv4 and IPv6 are tracked"));
  }
  Tuple tuple;
  tuple.family = static_cast<wire::Family>(family);
  if (auto read = read_addresses(*attributes, parts, tuple); !read) {
    return std::unexpected(std::move(read).error());
  }
  if (auto read = read_protocol(*attributes, parts, tuple); !read) {
    return std::unexpected(std::move(read).error());
  }
  if (parts & kTupleZone) {
    if (auto read = read_tuple_zone(*attributes, attribute.type(), zone); !read) {
      return std::unexpected(std::move(read).error());
    }
  }
  return tuple;
}

}  // namespace weir::control::ctnetlink
