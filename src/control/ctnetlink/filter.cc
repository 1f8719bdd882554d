#include "control/ctnetlink/filter.h"

#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>

namespace weir::control::ctnetlink {
namespace {

using conntrack::Tuple;
using netlink::Kind;

/// Attributes that older UAPI headers lack: CTA_FILTER (Linux 5.8), CTA_STATUS_MASK (5.14).
constexpr std::uint16_t kFilter = 25;
constexpr std::uint16_t kStatusMask = 26;
constexpr std::uint16_t kFilterOriginalFlags = 1;
constexpr std::uint16_t kFilterReplyFlags = 2;

constexpr netlink::Rule kRequest[] = {
    {.type = CTA_TUPLE_ORIG, .kind = Kind::nested}, {.type = CTA_TUPLE_REPLY, .kind = Kind::nested},
    {.type = CTA_STATUS, .kind = Kind::u32},        {.type = CTA_TIMEOUT, .kind = Kind::u32},
    {.type = CTA_MARK, .kind = Kind::u32},          {.type = CTA_ID, .kind = Kind::u32},
    {.type = CTA_ZONE, .kind = Kind::u16},          {.type = CTA_MARK_MASK, .kind = Kind::u32},
    {.type = kFilter, .kind = Kind::nested},        {.type = kStatusMask, .kind = Kind::u32},
};
constexpr netlink::Rule kFilterRules[] = {
    {.type = kFilterOriginalFlags, .kind = Kind::u32},
    {.type = kFilterReplyFlags, .kind = Kind::u32},
};

bool same_icmp_type(const Tuple& a, const Tuple& b) {
  return a.dst_port.host() >> 8 == b.dst_port.host() >> 8;
}
bool same_icmp_code(const Tuple& a, const Tuple& b) {
  return (a.dst_port.host() & 0xff) == (b.dst_port.host() & 0xff);
}

}  // namespace

std::span<const netlink::Rule> request_rules() { return kRequest; }

Result<Filter> Filter::read(const netlink::Attributes& attributes, std::uint8_t family) {
  Filter filter;
  filter.family_ = family;
  filter.zone_ = read_zone(attributes);
  filter.is_narrow_ = family || attributes.has(CTA_MARK) || attributes.has(CTA_STATUS) ||
                      attributes.has(CTA_ZONE) || attributes.has(kFilter);
  if (attributes.has(CTA_MARK)) {
    filter.mark_ = attributes.be32(CTA_MARK).host();
    filter.mark_mask_ =
        attributes.has(CTA_MARK_MASK) ? attributes.be32(CTA_MARK_MASK).host() : ~std::uint32_t{0};
  } else if (attributes.has(CTA_MARK_MASK)) {
    return std::unexpected(attributes.error(CTA_MARK_MASK, EINVAL, "a mask without a mark"));
  }
  if (attributes.has(CTA_STATUS)) {
    filter.status_ = attributes.be32(CTA_STATUS).host();
    filter.status_mask_ =
        attributes.has(kStatusMask) ? attributes.be32(kStatusMask).host() : filter.status_;
    if (!filter.status_mask_) {
      return std::unexpected(attributes.error(CTA_STATUS, EINVAL, "the status mask is empty"));
    }
  }
  if (attributes.has(kFilter)) {
    if (auto read = filter.read_tuples(attributes, family); !read) {
      return std::unexpected(std::move(read).error());
    }
  }
  return filter;
}

Result<void> Filter::read_tuples(const netlink::Attributes& attributes, std::uint8_t family) {
  const auto flags = netlink::Attributes::parse(attributes.nested(kFilter), kFilterRules);
  if (!flags) return std::unexpected(flags.error());
  const struct {
    std::uint16_t flags;
    std::uint16_t tuple;
    TupleMatch& match;
  } directions[] = {
      {kFilterOriginalFlags, CTA_TUPLE_ORIG, original_},
      {kFilterReplyFlags, CTA_TUPLE_REPLY, reply_},
  };
  for (const auto& direction : directions) {
    const TupleParts parts = flags->u32(direction.flags);
    if (!parts) continue;
    if (parts & ~kAllParts) {
      return std::unexpected(flags->error(direction.flags, EOPNOTSUPP, "unknown tuple parts"));
    }
    if (!attributes.has(direction.tuple)) {
      return std::unexpected(attributes.missing(direction.tuple));
    }
    auto tuple = read_tuple(attributes.find(direction.tuple), family, zone_, parts);
    if (!tuple) return std::unexpected(std::move(tuple).error());
    direction.match = {.tuple = *tuple, .parts = parts};
  }
  return {};
}

bool Filter::TupleMatch::matches(const Tuple& other) const {
  const auto differs = [&](TupleParts part, bool is_same) { return parts & part && !is_same; };
  if (differs(kSource, tuple.src == other.src)) return false;
  if (differs(kDestination, tuple.dst == other.dst)) return false;
  if (differs(kTupleZone, tuple.zone == other.zone)) return false;
  if (!(parts & kProtocol)) return true;
  if (tuple.protocol != other.protocol) return false;
  switch (tuple.protocol) {
    case IPPROTO_ICMP:
      return !differs(kIcmpType, same_icmp_type(tuple, other)) &&
             !differs(kIcmpCode, same_icmp_code(tuple, other)) &&
             !differs(kIcmpId, tuple.src_port == other.src_port);
    case IPPROTO_ICMPV6:
      return !differs(kIcmp6Type, same_icmp_type(tuple, other)) &&
             !differs(kIcmp6Code, same_icmp_code(tuple, other)) &&
             !differs(kIcmp6Id, tuple.src_port == other.src_port);
    default:
      return !differs(kSourcePort, tuple.src_port == other.src_port) &&
             !differs(kDestinationPort, tuple.dst_port == other.dst_port);
  }
}

bool Filter::matches(const conntrack::Snapshot& connection) const {
  if (!is_narrow_) return true;
  const Tuple& original = connection.original;
  if (family_ && static_cast<std::uint8_t>(original.family) != family_) return false;
  if (zone_ && original.zone != zone_ && connection.reply.zone != zone_) return false;
  if ((connection.mark & mark_mask_) != mark_) return false;
  if ((connection.status & status_mask_) != status_) return false;
  return original_.matches(original) && reply_.matches(connection.reply);
}

}  // namespace weir::control::ctnetlink
