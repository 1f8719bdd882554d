#include "pipeline/answer.h"

#include <cstring>

#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace weir::pipeline {
namespace {

constexpr std::uint8_t kTtl = 64;  // ip_default_ttl, hop_limit.

void write_ip(std::uint8_t* at, const Answer& answer, std::uint32_t total_bytes) {
  auto& ip = wire::at<wire::Ipv4>(at);
  ip.set_version_and_header_bytes(sizeof(wire::Ipv4));
  ip.set_tos(answer.tos);
  ip.set_total_bytes(static_cast<std::uint16_t>(total_bytes));
  ip.set_id(answer.ip_id);
  ip.set_fragment_field(answer.has_df ? wire::Ipv4::kDontFragment : 0);
  ip.set_ttl(kTtl);
  ip.set_protocol(answer.protocol);
  ip.set_src(answer.source.v4());
  ip.set_dst(answer.destination.v4());
  ip.fill_checksum();
}

void write_ip6(std::uint8_t* at, const Answer& answer, std::uint32_t payload_bytes) {
  auto& ip = wire::at<wire::Ipv6>(at);
  ip.set_first_word(answer.tos, 0);
  ip.set_payload_bytes(static_cast<std::uint16_t>(payload_bytes));
  ip.set_next_header(answer.protocol);
  ip.set_hop_limit(kTtl);
  ip.set_src(answer.source);
  ip.set_dst(answer.destination);
}

}  // namespace

packet::Packet* make_answer(const packet::Packet& about, const Answer& answer,
                            std::uint32_t l4_bytes, packet::Pool& pool) {
  const bool is_ip = about.family == wire::Family::ip;
  const std::uint32_t header_bytes = is_ip ? sizeof(wire::Ipv4) : sizeof(wire::Ipv6);
  const std::uint32_t frame_bytes = sizeof(wire::Ethernet) + header_bytes + l4_bytes;
  packet::Packet* const made = pool.take(frame_bytes);
  if (made == nullptr) return nullptr;

  made->length = frame_bytes;
  made->family = about.family;
  made->l3_offset = sizeof(wire::Ethernet);
  made->l4_offset = static_cast<std::uint16_t>(sizeof(wire::Ethernet) + header_bytes);
  made->l4_protocol = answer.protocol;
  made->ip_length = header_bytes + l4_bytes;
  made->checksum = packet::Checksum::verified;
  made->arrived = about.arrived;
  made->in_port = about.in_port;
  made->in_ifindex = about.in_ifindex;
  made->is_from_host = true;

  std::memset(made->frame(), 0, sizeof(wire::Ethernet));
  wire::at<wire::Ethernet>(made->frame()).set_type(wire::ethertype_of(about.family));
  std::uint8_t* const l3 = made->frame() + made->l3_offset;
  if (is_ip) {
    write_ip(l3, answer, made->ip_length);
  } else {
    write_ip6(l3, answer, l4_bytes);
  }
  return made;
}

}  // namespace weir::pipeline
