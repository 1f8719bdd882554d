#include "packet/checksum.h"
#include "pipeline/answer.h"
#include "pipeline/icmp_error.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::pipeline {
namespace {

using wire::Tcp;

/// RFC 9293 section 3.10.7.1: with an ACK the reset takes its number, else it acknowledges all that
/// came.
void fill_reset(Tcp& reset, const Tcp& segment, std::size_t payload_bytes) {
  reset = Tcp{};
  reset.set_src_port(segment.dst_port());
  reset.set_dst_port(segment.src_port());
  reset.set_header_bytes(sizeof(Tcp));
  if (segment.has(Tcp::kAck)) {
    reset.set_sequence(segment.acknowledgment());
    reset.set_flags(Tcp::kRst);
    return;
  }
  const std::uint32_t flags =
      (segment.has(Tcp::kSyn) ? 1U : 0U) + (segment.has(Tcp::kFin) ? 1U : 0U);
  reset.set_acknowledgment(segment.sequence() + static_cast<std::uint32_t>(payload_bytes) + flags);
  reset.set_flags(Tcp::kRst | Tcp::kAck);
}

bool is_answerable(packet::Packet& about) {
  if (about.is_fragment || about.l4_protocol != wire::protocol::kTcp) return false;
  if (about.link_type == packet::LinkType::broadcast ||
      about.link_type == packet::LinkType::multicast) {
    return false;
  }
  const Bytes l4 = about.l4();
  const auto* const segment = wire::view<Tcp>(l4);
  if (segment == nullptr || segment->has(Tcp::kRst)) return false;
  return segment->header_bytes() >= sizeof(Tcp) && segment->header_bytes() <= l4.size() &&
         packet::verify_checksum(about);
}

}  // namespace

packet::Packet* make_tcp_reset(packet::Packet& about, packet::Pool& pool) {
  if (!is_answerable(about)) return nullptr;
  const bool is_ip = about.family == wire::Family::ip;
  Answer spec;
  spec.protocol = wire::protocol::kTcp;
  spec.has_df = true;
  if (is_ip) {
    const auto& ip = wire::at<wire::Ipv4>(about.l3().data());
    spec.source = ip.dst_address();
    spec.destination = ip.src_address();
  } else {
    const auto& ip = wire::at<wire::Ipv6>(about.l3().data());
    spec.source = ip.dst_address();
    spec.destination = ip.src_address();
  }
  packet::Packet* const answer = make_answer(about, spec, sizeof(Tcp), pool);
  if (answer == nullptr) return nullptr;

  const auto& segment = wire::at<Tcp>(about.l4().data());
  auto& reset = wire::at<Tcp>(answer->l4().data());
  fill_reset(reset, segment, about.l4().size() - segment.header_bytes());
  reset.set_checksum(wire::finish(
      wire::sum(Bytes(answer->l4())) +
      wire::pseudo_header(answer->family, answer->l3().data(), wire::protocol::kTcp, sizeof(Tcp))));
  return answer;
}

}  // namespace weir::pipeline
