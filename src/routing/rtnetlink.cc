#include "routing/rtnetlink.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>

namespace weir::routing {

using wire::Family;

namespace {

// Of kernels newer than the headers.
constexpr std::uint16_t kFraDscp = 25;  // FRA_DSCP, the last one that weir knows.

/// The attributes of a message or nest by type; later ones win, as in the kernel's parser.
template <std::size_t Count>
class Attributes {
 public:
  Attributes(const nlmsghdr& message, std::size_t header_bytes) {
    const std::size_t bytes = mnl_nlmsg_get_payload_len(&message);
    const std::size_t skipped = MNL_ALIGN(header_bytes);
    if (bytes > skipped)
      read(static_cast<const char*>(mnl_nlmsg_get_payload(&message)) + skipped, bytes - skipped);
  }
  explicit Attributes(const nlattr* nest) {
    if (nest != nullptr) read(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest));
  }
  Attributes(const void* payload, std::size_t bytes) { read(payload, bytes); }

  const nlattr* operator[](std::size_t type) const { return found_[type]; }
  bool has(std::size_t type) const { return found_[type] != nullptr; }
  bool has_beyond() const { return has_beyond_; }

  std::uint32_t u32(std::size_t type, std::uint32_t otherwise = 0) const {
    return bytes(type) < 4 ? otherwise : mnl_attr_get_u32(found_[type]);
  }
  std::uint16_t u16(std::size_t type) const {
    return bytes(type) < 2 ? 0 : mnl_attr_get_u16(found_[type]);
  }
  std::uint8_t u8(std::size_t type) const {
    return bytes(type) < 1 ? 0 : mnl_attr_get_u8(found_[type]);
  }
  std::string text(std::size_t type) const {
    if (!has(type)) return {};
    const char* const at = static_cast<const char*>(mnl_attr_get_payload(found_[type]));
    return std::string(at, strnlen(at, bytes(type)));
  }
  Bytes raw(std::size_t type) const {
    if (!has(type)) return {};
    return {static_cast<const std::uint8_t*>(mnl_attr_get_payload(found_[type])), bytes(type)};
  }
  wire::Address address(std::size_t type, Family family) const {
    const Bytes value = raw(type);
    return value.size() < wire::address_bytes(family)
               ? wire::Address{}
               : wire::Address::from(value.first(wire::address_bytes(family)));
  }

 private:
  std::size_t bytes(std::size_t type) const {
    return has(type) ? mnl_attr_get_payload_len(found_[type]) : 0;
  }
  void read(const void* payload, std::size_t bytes) {
    const char* const end = static_cast<const char*>(payload) + bytes;
    const auto* at = static_cast<const nlattr*>(payload);
    while (mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at)))) {
      const std::size_t type = mnl_attr_get_type(at);
      if (type < Count) {
        found_[type] = at;
      } else {
        has_beyond_ = true;
      }
      at = mnl_attr_next(at);
    }
  }
  // One size for all: GCC 12 merges the accessors of different sizes and then warns about their
  // bounds.
  static_assert(Count <= 64);
  std::array<const nlattr*, 64> found_{};
  bool has_beyond_ = false;
};

template <typename Header>
const Header* header_of(const nlmsghdr& message) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(Header)) return nullptr;
  return static_cast<const Header*>(mnl_nlmsg_get_payload(&message));
}

std::optional<Family> family_of(std::uint8_t value) {
  if (value == AF_INET) return Family::ip;
  if (value == AF_INET6) return Family::ip6;
  return std::nullopt;
}

Mac mac_of(Bytes value) {
  Mac mac{};
  if (value.size() == mac.size()) std::memcpy(mac.data(), value.data(), mac.size());
  return mac;
}

template <typename Found>
void read_gateway(const Found& found, Family family, NextHop& hop) {
  if (found.has(RTA_GATEWAY)) {
    hop.gateway = found.address(RTA_GATEWAY, family);
    hop.gateway_family = family;
  } else if (const Bytes via = found.raw(RTA_VIA); via.size() > sizeof(rtvia)) {
    const auto via_family = family_of(static_cast<std::uint8_t>(load<std::uint16_t>(via.data())));
    const Bytes address = via.subspan(sizeof(rtvia));
    if (!via_family || address.size() < wire::address_bytes(*via_family)) return;
    hop.gateway = wire::Address::from(address.first(wire::address_bytes(*via_family)));
    hop.gateway_family = *via_family;
  }
}

void read_flags(std::uint32_t flags, NextHop& hop) {
  hop.is_onlink = (flags & RTNH_F_ONLINK) != 0;
  hop.is_dead = (flags & RTNH_F_DEAD) != 0;
  hop.is_linkdown = (flags & RTNH_F_LINKDOWN) != 0;
}

std::vector<NextHop> read_multipath(Bytes value, Family family) {
  std::vector<NextHop> hops;
  while (value.size() >= sizeof(rtnexthop)) {
    const auto header = load<rtnexthop>(value.data());
    if (header.rtnh_len < sizeof header || header.rtnh_len > value.size()) break;
    NextHop& hop = hops.emplace_back();
    hop.ifindex = static_cast<std::uint32_t>(header.rtnh_ifindex);
    hop.weight = static_cast<std::uint16_t>(header.rtnh_hops + 1);
    read_flags(header.rtnh_flags, hop);
    const Attributes<RTA_MAX + 1> found(value.data() + sizeof header,
                                        header.rtnh_len - sizeof header);
    read_gateway(found, family, hop);
    value = value.subspan(std::min<std::size_t>(RTNH_ALIGN(header.rtnh_len), value.size()));
  }
  return hops;
}

}  // namespace

std::optional<Link> read_link(const nlmsghdr& message) {
  const auto* const header = header_of<ifinfomsg>(message);
  if (header == nullptr || header->ifi_family == AF_BRIDGE) return std::nullopt;
  const Attributes<IFLA_MAX + 1> found(message, sizeof *header);
  const Attributes<IFLA_INFO_MAX + 1> info(found[IFLA_LINKINFO]);
  Link link{.ifindex = static_cast<std::uint32_t>(header->ifi_index),
            .name = found.text(IFLA_IFNAME),
            .kind = info.text(IFLA_INFO_KIND),
            .type = header->ifi_type,
            .group = found.u32(IFLA_GROUP),
            .flags = header->ifi_flags,
            .mtu = found.u32(IFLA_MTU),
            .master = found.u32(IFLA_MASTER),
            .parent = found.u32(IFLA_LINK),
            .mac = mac_of(found.raw(IFLA_ADDRESS)),
            .broadcast_mac = mac_of(found.raw(IFLA_BROADCAST)),
            .has_mac = found.raw(IFLA_ADDRESS).size() == sizeof(Mac)};
  if (link.kind == "vlan")
    link.vlan_id = Attributes<IFLA_VLAN_MAX + 1>(info[IFLA_INFO_DATA]).u16(IFLA_VLAN_ID);
  return link;
}

std::optional<InterfaceAddress> read_address(const nlmsghdr& message) {
  const auto* const header = header_of<ifaddrmsg>(message);
  if (header == nullptr) return std::nullopt;
  const auto family = family_of(header->ifa_family);
  if (!family) return std::nullopt;
  const Attributes<IFA_MAX + 1> found(message, sizeof *header);
  const wire::Address peer = found.address(IFA_ADDRESS, *family);
  return InterfaceAddress{.ifindex = header->ifa_index,
                          .family = *family,
                          .local = found.has(IFA_LOCAL) ? found.address(IFA_LOCAL, *family) : peer,
                          .peer = peer,
                          .broadcast = found.address(IFA_BROADCAST, *family),
                          .prefix_length = header->ifa_prefixlen,
                          .scope = header->ifa_scope,
                          .flags = found.u32(IFA_FLAGS, header->ifa_flags)};
}

std::optional<PolicyRule> read_rule(const nlmsghdr& message) {
  const auto* const header = header_of<fib_rule_hdr>(message);
  if (header == nullptr) return std::nullopt;
  const auto family = family_of(header->family);
  if (!family) return std::nullopt;
  const Attributes<kFraDscp + 1> found(message, sizeof *header);
  PolicyRule rule{.family = *family,
                  .priority = found.u32(FRA_PRIORITY),
                  .action = static_cast<RuleAction>(header->action),
                  .is_inverted = (header->flags & FIB_RULE_INVERT) != 0,
                  .table = found.u32(FRA_TABLE, header->table),
                  .go_to_priority = found.u32(FRA_GOTO),
                  .from = {*family, found.address(FRA_SRC, *family), header->src_len},
                  .to = {*family, found.address(FRA_DST, *family), header->dst_len},
                  .iif = found.text(FRA_IIFNAME),
                  .oif = found.text(FRA_OIFNAME),
                  .mark = found.u32(FRA_FWMARK),
                  .mark_mask = found.u32(FRA_FWMASK),
                  .tos = header->tos,
                  .protocol = found.u8(FRA_IP_PROTO)};
  if (found.has(kFraDscp)) rule.tos = static_cast<std::uint8_t>(found.u8(kFraDscp) << 2);
  const auto read_ports = [&](std::size_t type, std::uint16_t& low, std::uint16_t& high) {
    const Bytes value = found.raw(type);
    if (value.size() < sizeof(fib_rule_port_range)) return;
    const auto range = load<fib_rule_port_range>(value.data());
    low = range.start;
    high = range.end;
  };
  read_ports(FRA_SPORT_RANGE, rule.src_port_low, rule.src_port_high);
  read_ports(FRA_DPORT_RANGE, rule.dst_port_low, rule.dst_port_high);
  rule.suppress_prefix_length = static_cast<std::int32_t>(found.u32(FRA_SUPPRESS_PREFIXLEN, ~0u));
  rule.suppress_group = static_cast<std::int32_t>(found.u32(FRA_SUPPRESS_IFGROUP, ~0u));
  rule.is_unsupported = found.u8(FRA_L3MDEV) != 0 || found.has(FRA_UID_RANGE) ||
                        found.has(FRA_TUN_ID) || found.has_beyond();
  return rule;
}

std::optional<RouteEntry> read_route(const nlmsghdr& message) {
  const auto* const header = header_of<rtmsg>(message);
  if (header == nullptr || (header->rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;
  const auto family = family_of(header->rtm_family);
  // Source-specific routes (subtrees) have no place in a table that is looked up by destination.
  if (!family || header->rtm_src_len != 0) return std::nullopt;
  if (header->rtm_type > RTN_THROW || header->rtm_dst_len > wire::address_bytes(*family) * 8)
    return std::nullopt;
  const Attributes<RTA_MAX + 1> found(message, sizeof *header);
  const Attributes<RTAX_MAX + 1> metrics(found[RTA_METRICS]);
  RouteEntry route{.table = found.u32(RTA_TABLE, header->rtm_table),
                   .destination = {*family, found.address(RTA_DST, *family), header->rtm_dst_len},
                   .type = static_cast<RouteType>(header->rtm_type),
                   .tos = header->rtm_tos,
                   .scope = header->rtm_scope,
                   .protocol = header->rtm_protocol,
                   .priority = found.u32(RTA_PRIORITY),
                   .mtu = metrics.u32(RTAX_MTU),
                   .is_mtu_locked = (metrics.u32(RTAX_LOCK) & 1u << RTAX_MTU) != 0,
                   .prefsrc = found.address(RTA_PREFSRC, *family),
                   .next_hop_id = found.u32(RTA_NH_ID)};
  if (found.has(RTA_MULTIPATH)) {
    route.next_hops = read_multipath(found.raw(RTA_MULTIPATH), *family);
  } else if (found.has(RTA_OIF)) {
    NextHop& hop = route.next_hops.emplace_back();
    hop.ifindex = found.u32(RTA_OIF);
    read_flags(header->rtm_flags, hop);
    read_gateway(found, *family, hop);
  }
  return route;
}

std::optional<NextHopObject> read_next_hop(const nlmsghdr& message) {
  const auto* const header = header_of<nhmsg>(message);
  if (header == nullptr) return std::nullopt;
  const Attributes<NHA_MAX + 1> found(message, sizeof *header);
  if (found.has(NHA_FDB)) return std::nullopt;
  NextHopObject object{.id = found.u32(NHA_ID), .is_blackhole = found.has(NHA_BLACKHOLE)};
  Bytes members = found.raw(NHA_GROUP);
  for (; members.size() >= sizeof(nexthop_grp); members = members.subspan(sizeof(nexthop_grp))) {
    const auto member = load<nexthop_grp>(members.data());
    // Newer kernels keep the weight's upper byte in what was reserved.
    const unsigned weight = (member.weight | static_cast<unsigned>(member.resvd1) << 8) + 1;
    object.group.push_back({.id = member.id, .weight = static_cast<std::uint16_t>(weight)});
  }
  if (object.group.empty() && found.has(NHA_OIF)) {
    NextHop hop{.ifindex = found.u32(NHA_OIF)};
    read_flags(header->nh_flags, hop);
    const auto family = family_of(header->nh_family);
    if (found.has(NHA_GATEWAY) && family) {
      hop.gateway = found.address(NHA_GATEWAY, *family);
      hop.gateway_family = *family;
    }
    object.next_hops.push_back(hop);
  }
  return object;
}

std::optional<NeighbourChange> read_neighbour(const nlmsghdr& message) {
  const auto* const header = header_of<ndmsg>(message);
  if (header == nullptr || (header->ndm_flags & NTF_PROXY) != 0) return std::nullopt;
  const auto family = family_of(header->ndm_family);
  if (!family) return std::nullopt;
  const Attributes<NDA_MAX + 1> found(message, sizeof *header);
  if (!found.has(NDA_DST)) return std::nullopt;
  return NeighbourChange{.key = {.ifindex = static_cast<std::uint32_t>(header->ndm_ifindex),
                                 .family = *family,
                                 .address = found.address(NDA_DST, *family)},
                         .state = static_cast<NeighbourState>(header->ndm_state & 0xff),
                         .mac = mac_of(found.raw(NDA_LLADDR))};
}

Database::Place place_of(const nlmsghdr& message, Family family) {
  if ((message.nlmsg_flags & NLM_F_REPLACE) != 0) return Database::Place::replace;
  const bool is_appended = family == Family::ip6 || (message.nlmsg_flags & NLM_F_APPEND) != 0;
  return is_appended ? Database::Place::append : Database::Place::prepend;
}

}  // namespace weir::routing
