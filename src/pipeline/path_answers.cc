// Answers that weir gives in its own name: ICMP errors and TCP resets.
#include "pipeline/path.h"
#include "wire/icmp.h"

namespace weir::pipeline {

using packet::Drop;
using packet::Packet;

namespace {

/// The way back to where a packet came from.
routing::FlowKey key_back(const Packet& about) {
  routing::FlowKey key = flow_key(about);
  key.mark = 0;  // As with fwmark_reflect=0.
  return key;
}

}  // namespace

void Path::answer(const Packet& about, std::uint8_t type, std::uint8_t code, std::uint32_t rest) {
  const routing::FlowKey key = key_back(about);
  routing::Route back;
  const IcmpError error{
      .type = type, .code = code, .rest = rest, .source = view_->icmp_source(key, back)};
  if (!back.is_found() || error.source.is_zero() || !may_answer(about, error)) return;
  if (!icmp_limiter_.allow(about.family, error, key.src, now_)) return counters_.icmp_limited.add();
  if (Packet* const packet = make_icmp_error(about, error, pool_)) emit(packet, about, back);
}

/// ip_error and ip6_pkt_discard: what a router says when it has no route, or one that refuses.
void Path::answer_no_route(const Packet& about, Drop reason) {
  const bool is_ip = about.family == wire::Family::ip;
  switch (reason) {
    case Drop::no_route:
      return is_ip ? answer(about, wire::icmp::kUnreachable, wire::icmp::kNetUnreachable)
                   : answer(about, wire::icmpv6::kUnreachable, wire::icmpv6::kNoRoute);
    case Drop::route_unreachable:
      return is_ip ? answer(about, wire::icmp::kUnreachable, wire::icmp::kHostUnreachable)
                   : answer(about, wire::icmpv6::kUnreachable, wire::icmpv6::kNoRoute);
    case Drop::route_prohibit:
      return is_ip ? answer(about, wire::icmp::kUnreachable, wire::icmp::kAdminProhibited)
                   : answer(about, wire::icmpv6::kUnreachable, wire::icmpv6::kAdminProhibited);
    default:
      return;  // Blackholes and martians get no answer.
  }
}

void Path::answer_too_big(const Packet& about) {
  if (about.family == wire::Family::ip) {
    answer(about, wire::icmp::kUnreachable, wire::icmp::kFragmentationNeeded, about.path_mtu);
  } else {
    answer(about, wire::icmpv6::kPacketTooBig, 0, about.path_mtu);
  }
}

void Path::reject_icmp(Packet& about, std::uint8_t type, std::uint8_t code) {
  answer(about, type, code);
}

void Path::reject_tcp_reset(Packet& about) {
  routing::FlowKey key = flow_key(about);
  std::swap(key.src, key.dst);
  std::swap(key.src_port, key.dst_port);
  key.iif = 0;
  const routing::Route back = view_->lookup(key);
  if (!back.is_found()) return;
  Packet* const packet = make_tcp_reset(about, pool_);
  if (packet == nullptr) return;

  // It belongs to the connection that it ends, in the other direction (nf_ct_attach).
  packet->ct = about.ct;
  if (about.ct.entry != 0) {
    packet->ct.info =
        about.ct.is_reply() ? packet::CtInfo::established : packet::CtInfo::established_reply;
  }
  emit(packet, about, back);
}

void Path::emit(Packet* packet, const Packet& about, const routing::Route& back) {
  packet->in_port = about.in_port;
  packet->is_from_host = true;
  apply_route(*packet, back);
  if (back.type == routing::RouteType::local) {
    packet->in_ifindex = about.in_ifindex;
    return deliver(packet);
  }
  generated_.push_back(packet);
}

}  // namespace weir::pipeline
