#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "netlink/message.h"
#include "netlink/writer.h"

namespace weir::tools::conntrack {

/// An address of either family, in network order.
struct Address {
  std::uint8_t family = 0;  // AF_INET or AF_INET6
  std::array<std::uint8_t, 16> bytes{};

  bool operator==(const Address&) const = default;
  std::size_t size() const;
  std::string text() const;
  static std::optional<Address> parse(const std::string& text);
  /// The same with all bits after the first `length` cleared.
  Address masked(const Address& mask) const;
  static Address mask_of(std::uint8_t family, unsigned length);
};

/// One direction's tuple; what a message or an option didn't give is empty. Numbers in host order.
struct End {
  std::optional<std::uint8_t> family;
  std::optional<Address> src, dst;
  std::optional<std::uint8_t> protocol;
  std::optional<std::uint16_t> src_port, dst_port;  // Or GRE's keys.
  std::optional<std::uint8_t> icmp_type, icmp_code;
  std::optional<std::uint16_t> icmp_id;
  std::optional<std::uint16_t> zone;

  bool operator==(const End&) const = default;
};

struct Counters {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

/// A label or label mask: bit n is byte n / 8, bit n % 8.
using Labels = std::vector<std::uint8_t>;

/// Where a connection is to be translated to; for requests only.
struct NatTo {
  std::optional<Address> address;
  std::optional<std::uint16_t> port;
};

/// A connection as ctnetlink tells it (linux/netfilter/nfnetlink_conntrack.h), and the template of
/// a request or a filter. Everything is optional: messages differ in what they carry.
struct Flow {
  End original, reply;
  std::optional<std::uint32_t> status;  // IPS_*
  std::optional<std::uint32_t> timeout;
  std::optional<std::uint32_t> mark, secmark, use, id;
  std::optional<Counters> original_counters, reply_counters;
  std::optional<std::uint8_t> tcp_state, sctp_state, dccp_state, dccp_role;
  // As conntrack(8) reads and prints them: the tag's bytes in the order of the machine.
  std::optional<std::uint32_t> original_vtag, reply_vtag;
  std::optional<std::string> helper, secctx;
  std::optional<std::uint64_t> start, stop;  // Nanoseconds since 1970.
  std::optional<std::uint16_t> zone;
  std::optional<Labels> labels, labels_mask;
  std::optional<std::uint8_t> tcp_flags;  // For requests: both directions.
  NatTo source_nat, destination_nat;      // For requests.

  /// As IPS_SRC_NAT and IPS_DST_NAT don't say it: by comparing the two tuples.
  bool has_source_nat() const;
  bool has_destination_nat() const;
  bool has_source_port_nat() const;
  bool has_destination_port_nat() const;
};

/// An expectation (NFNL_SUBSYS_CTNETLINK_EXP).
struct Expectation {
  End expected, mask, master;
  std::optional<std::uint32_t> timeout, flags, expect_class;
  std::optional<std::uint16_t> zone;
  std::optional<std::string> helper;
};

Flow read_flow(const netlink::Message& message);
Expectation read_expectation(const netlink::Message& message);

/// The attributes of a request for or about this connection.
void write_flow(netlink::Writer& writer, const Flow& flow);
/// The attributes that name a connection: original tuple, zone and id.
void write_key(netlink::Writer& writer, const Flow& flow);
void write_expectation(netlink::Writer& writer, const Expectation& expectation);

}  // namespace weir::tools::conntrack
