#include "pipeline/icmp_error.h"

#include <algorithm>
#include <cstring>

#include "pipeline/answer.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"

namespace weir::pipeline {
namespace {

using packet::Packet;

constexpr std::uint32_t kIpMaxBytes = 576;    // RFC 1812 section 4.3.2.3.
constexpr std::uint32_t kIp6MaxBytes = 1280;  // RFC 4443 section 2.4(c).
constexpr std::uint8_t kInternetworkControl = 0xc0;
constexpr std::uint8_t kTosMask = 0x1e;

/// RFC 1122 section 3.2.2: a source that names one host.
bool is_single_host(std::uint32_t ip) {
  const std::uint32_t top = ip >> 24;
  return top != 0 && top != 127 && top < 224;
}

bool may_answer_ip(const Packet& about) {
  const auto& ip = wire::at<wire::Ipv4>(about.l3().data());
  if (ip.fragment_offset_bytes() != 0) return false;
  const std::uint32_t dst = ip.dst().host();
  if (!is_single_host(ip.src().host()) || dst >> 28 == 0xe || dst == 0xffffffff) return false;
  if (ip.protocol() != wire::protocol::kIcmp) return true;
  constexpr std::uint8_t kHighestType = 18;
  const Bytes l4 = about.l4();
  return !l4.empty() && l4[0] <= kHighestType && !wire::icmp::is_error(l4[0]);
}

bool may_answer_ip6(const Packet& about, const IcmpError& error) {
  const auto& ip = wire::at<wire::Ipv6>(about.l3().data());
  const wire::Address src = ip.src_address();
  if (src.is_zero() || src.bytes[0] == 0xff) return false;
  const bool answers_groups =
      error.type == wire::icmpv6::kPacketTooBig ||
      (error.type == wire::icmpv6::kParameterProblem && error.code == wire::icmpv6::kUnknownOption);
  if (ip.dst_address().bytes[0] == 0xff && !answers_groups) return false;
  if (about.l4_protocol != wire::protocol::kIcmpv6 || about.is_later_fragment) return true;
  const Bytes l4 = about.l4();
  return !l4.empty() && !wire::icmpv6::is_error(l4[0]);
}

void write_icmp(Packet& answer, const IcmpError& error, Bytes quoted) {
  const MutableBytes l4 = answer.l4();
  auto& icmp = wire::at<wire::Icmp>(l4.data());
  icmp.set_type(error.type);
  icmp.set_code(error.code);
  icmp.set_checksum({0});
  icmp.set_rest(Be32::from_host(error.rest));
  std::memcpy(l4.data() + sizeof(wire::Icmp), quoted.data(), quoted.size());
  wire::Sum total = wire::sum(Bytes(l4));
  if (answer.family == wire::Family::ip6) {
    total += wire::pseudo_header(answer.family, answer.l3().data(), wire::protocol::kIcmpv6,
                                 static_cast<std::uint32_t>(l4.size()));
  }
  icmp.set_checksum(wire::finish(total));
}

}  // namespace

bool may_answer(const Packet& about, const IcmpError& error) {
  if (about.family == wire::Family::ip) {
    return about.link_type != packet::LinkType::broadcast &&
           about.link_type != packet::LinkType::multicast && may_answer_ip(about);
  }
  const bool is_group_frame = about.link_type == packet::LinkType::broadcast ||
                              about.link_type == packet::LinkType::multicast;
  if (is_group_frame && error.type != wire::icmpv6::kPacketTooBig) return false;
  return may_answer_ip6(about, error);
}

Packet* make_icmp_error(const Packet& about, const IcmpError& error, packet::Pool& pool) {
  if (!may_answer(about, error)) return nullptr;
  const bool is_ip = about.family == wire::Family::ip;
  const std::uint32_t headers =
      (is_ip ? sizeof(wire::Ipv4) : sizeof(wire::Ipv6)) + sizeof(wire::Icmp);
  const std::uint32_t room = (is_ip ? kIpMaxBytes : kIp6MaxBytes) - headers;
  const Bytes quoted = about.l3().first(std::min<std::size_t>(about.ip_length, room));

  const auto& original = wire::at<wire::Ipv4>(about.l3().data());
  const Answer spec{
      .protocol = is_ip ? wire::protocol::kIcmp : wire::protocol::kIcmpv6,
      .tos = is_ip ? static_cast<std::uint8_t>((original.tos() & kTosMask) | kInternetworkControl)
                   : std::uint8_t{0},
      .source = error.source,
      .destination =
          is_ip ? original.src_address() : wire::at<wire::Ipv6>(about.l3().data()).src_address(),
      // Any id will do; the packet's own is as hard to guess as its sender made it.
      .ip_id = is_ip ? original.id() : Be16{},
  };
  Packet* const answer = make_answer(
      about, spec, sizeof(wire::Icmp) + static_cast<std::uint32_t>(quoted.size()), pool);
  if (answer == nullptr) return nullptr;
  write_icmp(*answer, error, quoted);
  return answer;
}

}  // namespace weir::pipeline
