#include "control/ctnetlink/filter.h"

#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>
#include <optional>

namespace weir::control::ctnetlink {
namespace {

using conntrack::Tuple;
using netlink::Kind;

/// Attributes that older UAPI headers lack: CTA_FILTER (Linux 5.8), CTA_STATUS_MASK (5.14).
constexpr std::uint16_t kFilter = 25;
constexpr std::uint16_t kStatusMask = 26;
constexpr std::uint16_t kFilterOriginalFlags = 1;
constexpr std::uint16_t kFilterReplyFlags = 2;

constexpr std::uint16_t kTimestampEvent = 27;

constexpr netlink::Rule kRequest[] = {
    {.type = CTA_TUPLE_ORIG, .kind = Kind::nested},
    {.type = CTA_TUPLE_REPLY, .kind = Kind::nested},
    {.type = CTA_STATUS, .kind = Kind::u32},
    {.type = CTA_PROTOINFO, .kind = Kind::nested},
    {.type = CTA_HELP, .kind = Kind::nested},
    {.type = CTA_NAT_SRC, .kind = Kind::nested},
    {.type = CTA_TIMEOUT, .kind = Kind::u32},
    {.type = CTA_MARK, .kind = Kind::u32},
    {.type = CTA_ID, .kind = Kind::u32},
    {.type = CTA_NAT_DST, .kind = Kind::nested},
    {.type = CTA_TUPLE_MASTER, .kind = Kind::nested},
    {.type = CTA_SEQ_ADJ_ORIG, .kind = Kind::nested},
    {.type = CTA_SEQ_ADJ_REPLY, .kind = Kind::nested},
    {.type = CTA_ZONE, .kind = Kind::u16},
    {.type = CTA_MARK_MASK, .kind = Kind::u32},
    {.type = CTA_LABELS, .kind = Kind::binary, .max_bytes = conntrack::Extension::kLabelBytes},
    {.type = CTA_LABELS_MASK, .kind = Kind::binary, .max_bytes = conntrack::Extension::kLabelBytes},
    {.type = CTA_SYNPROXY},
    {.type = kFilter, .kind = Kind::nested},
    {.type = kStatusMask, .kind = Kind::u32},
    {.type = kTimestampEvent},
};
constexpr netlink::Rule kFilterRules[] = {
    {.type = kFilterOriginalFlags, .kind = Kind::u32},
    {.type = kFilterReplyFlags, .kind = Kind::u32},
};

/// CTA_FILTER is newer than the rest of ctnetlink, and the kernel's checks of it are strict: the
/// nested flag, no other attributes, their exact sizes, nothing behind them.
bool is_strict(const netlink::Attribute& filter) {
  std::size_t bytes = 0;
  for (const netlink::Attribute& flags : filter.nested()) {
    if (flags.type() != kFilterOriginalFlags && flags.type() != kFilterReplyFlags) return false;
    if (flags.payload().size() != sizeof(std::uint32_t)) return false;
    bytes += netlink::Attribute::kHeaderBytes + sizeof(std::uint32_t);
  }
  return filter.has_nested_flag() && bytes == filter.payload().size();
}

bool same_icmp_type(const Tuple& a, const Tuple& b) {
  return a.dst_port.host() >> 8 == b.dst_port.host() >> 8;
}
bool same_icmp_code(const Tuple& a, const Tuple& b) {
  return (a.dst_port.host() & 0xff) == (b.dst_port.host() & 0xff);
}

/// The one zone that a connection has, be it of both directions or of one.
std::uint16_t zone_of(const conntrack::Snapshot& connection) {
  return connection.original.zone ? connection.original.zone : connection.reply.zone;
}

}  // namespace

Result<netlink::Attributes> parse_request(const netlink::Message& message) {
  auto attributes = netlink::Attributes::parse(message.attributes(), kRequest);
  if (attributes && attributes->has(kTimestampEvent)) {
    return std::unexpected(
        attributes->error(kTimestampEvent, EINVAL, "only events have this attribute"));
  }
  return attributes;
}

Result<Filter> Filter::read(const netlink::Attributes& attributes, std::uint8_t family) {
  Filter filter;
  filter.is_narrow_ = family || attributes.has(CTA_MARK) || attributes.has(CTA_STATUS) ||
                      attributes.has(CTA_ZONE) || attributes.has(kFilter);
  if (!filter.is_narrow_) return filter;
  filter.family_ = family;
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
  } else if (attributes.has(kStatusMask)) {
    return std::unexpected(attributes.error(kStatusMask, EINVAL, "a mask without a status"));
  }
  if (attributes.has(CTA_ZONE)) filter.zone_ = attributes.be16(CTA_ZONE).host();
  if (attributes.has(kFilter)) {
    if (auto read = filter.read_tuples(attributes, family); !read) {
      return std::unexpected(std::move(read).error());
    }
  }
  return filter;
}

Result<void> Filter::read_tuples(const netlink::Attributes& attributes, std::uint8_t family) {
  if (!is_strict(attributes.find(kFilter))) {
    return std::unexpected(attributes.error(kFilter, EINVAL, "not a filter"));
  }
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
    if (flags->u32(direction.flags) & ~kAllParts) {
      return std::unexpected(flags->error(direction.flags, EINVAL, "unknown tuple parts"));
    }
  }
  Zone zone{.original = zone_.value_or(0), .reply = zone_.value_or(0)};
  for (const auto& direction : directions) {
    const TupleParts parts = flags->u32(direction.flags);
    if (!parts) continue;
    if (!attributes.has(direction.tuple))
      return std::unexpected(attributes.missing(direction.tuple));
    auto tuple = read_tuple(attributes.find(direction.tuple), family, &zone, parts);
    if (!tuple) return std::unexpected(std::move(tuple).error());
    tuple->zone = direction.tuple == CTA_TUPLE_ORIG ? zone.original : zone.reply;
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
  if (zone_ && zone_of(connection) != *zone_) return false;
  if ((connection.mark & mark_mask_) != mark_) return false;
  if ((connection.status & status_mask_) != status_) return false;
  return original_.matches(original) && reply_.matches(connection.reply);
}

}  // namespace weir::control::ctnetlink
