#include "control/ctnetlink/read_nat.h"

#include <linux/netfilter/nfnetlink_conntrack.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace weir::control::ctnetlink {
namespace {

using nat::Manip;
using nat::Range;
using netlink::Attributes;
using netlink::Kind;

constexpr netlink::Rule kNat[] = {
    {.type = CTA_NAT_V4_MINIP, .kind = Kind::u32}, {.type = CTA_NAT_V4_MAXIP, .kind = Kind::u32},
    {.type = CTA_NAT_PROTO, .kind = Kind::nested}, {.type = CTA_NAT_V6_MINIP, .min_bytes = 16},
    {.type = CTA_NAT_V6_MAXIP, .min_bytes = 16},
};
constexpr netlink::Rule kPorts[] = {
    {.type = CTA_PROTONAT_PORT_MIN, .kind = Kind::u16},
    {.type = CTA_PROTONAT_PORT_MAX, .kind = Kind::u16},
};

void read_addresses(const Attributes& attributes, wire::Family family, Range& range) {
  const bool is_ip = family == wire::Family::ip;
  const std::uint16_t least = is_ip ? CTA_NAT_V4_MINIP : CTA_NAT_V6_MINIP;
  const std::uint16_t most = is_ip ? CTA_NAT_V4_MAXIP : CTA_NAT_V6_MAXIP;
  if (!attributes.has(least)) return;
  const std::size_t bytes = wire::address_bytes(family);
  range.flags |= Range::kMapAddresses;
  range.min_address = wire::Address::from(attributes.raw(least).first(bytes));
  range.max_address = attributes.has(most) ? wire::Address::from(attributes.raw(most).first(bytes))
                                           : range.min_address;
}

Result<void> read_ports(const Attributes& attributes, Range& range) {
  if (!attributes.has(CTA_NAT_PROTO)) return {};
  const auto ports = Attributes::parse(attributes.nested(CTA_NAT_PROTO), kPorts);
  if (!ports) return std::unexpected(ports.error());
  if (!ports->has(CTA_PROTONAT_PORT_MIN) && !ports->has(CTA_PROTONAT_PORT_MAX)) return {};
  const std::uint16_t least = ports->be16(CTA_PROTONAT_PORT_MIN).host();
  const std::uint16_t most =
      ports->has(CTA_PROTONAT_PORT_MAX) ? ports->be16(CTA_PROTONAT_PORT_MAX).host() : least;
  range.flags |= Range::kPortsSpecified;
  range.min_port = std::min(least, most);
  range.max_port = std::max(least, most);
  return {};
}

Result<std::optional<Range>> read_range(const netlink::Attribute& nest, wire::Family family) {
  if (!nest) return std::nullopt;
  const auto attributes = Attributes::parse(nest.nested(), kNat);
  if (!attributes) return std::unexpected(attributes.error());
  Range range;
  read_addresses(*attributes, family, range);
  if (auto read = read_ports(*attributes, range); !read) return std::unexpected(read.error());
  return range;
}

}  // namespace

Result<NatReader> NatReader::read(const Attributes& attributes, wire::Family family,
                                  nat::Nat* nat) {
  NatReader reader(nat);
  for (const std::uint16_t type : {CTA_NAT_DST, CTA_NAT_SRC}) {
    auto range = read_range(attributes.find(type), family);
    if (!range) return std::unexpected(std::move(range).error());
    if (*range && nat == nullptr) {
      return std::unexpected(attributes.error(type, EOPNOTSUPP, "this engine has no NAT"));
    }
    (type == CTA_NAT_SRC ? reader.source_ : reader.destination_) = *range;
  }
  return reader;
}

bool NatReader::choose(conntrack::Tracker& tracker, std::uint32_t entry, Time now) {
  return nat_->map_new(tracker, entry, Manip::dst, destination_, now) &&
         nat_->map_new(tracker, entry, Manip::src, source_, now);
}

}  // namespace weir::control::ctnetlink
