// The way out of the path: size, next hop, link header, port or host.
#include <array>

#include "pipeline/forward_check.h"
#include "pipeline/path.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace weir::pipeline {

using packet::Drop;
using packet::Packet;

namespace {

constexpr std::uint16_t kNoPort = 0xffff;
constexpr std::uint32_t kFlagNoArp = 0x80;  // IFF_NOARP

std::uint16_t port_of(const Shared& shared, std::uint32_t ifindex, std::uint16_t& last) {
  // Most packets leave by the port that the one before them took.
  if (last < shared.ports.size() &&
      shared.ports[last]->ifindex.load(std::memory_order_relaxed) == ifindex) {
    return last;
  }
  for (std::size_t i = 0; i < shared.ports.size(); ++i) {
    if (shared.ports[i]->ifindex.load(std::memory_order_relaxed) == ifindex)
      return last = static_cast<std::uint16_t>(i);
  }
  return kNoPort;
}

void write_link_header(Packet& packet, const routing::Mac& from, const routing::Mac& to) {
  auto& ethernet = wire::at<wire::Ethernet>(packet.frame());
  ethernet.set_dst(to);
  ethernet.set_src(from);
  ethernet.set_type(wire::ethertype_of(packet.family));
}

}  // namespace

void Path::apply_route(Packet& packet, const routing::Route& route) {
  packet.out_ifindex = route.out_ifindex;
  packet.next_hop = route.next_hop;
  packet.next_hop_family = route.next_hop_family;
  packet.path_mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(route.mtu, 0xffff));
}

/// The kernel has routed what the host sends: out by the port, with the link header that it has.
void Path::apply_host_route(Packet& packet) {
  packet.out_ifindex = packet.in_ifindex;
  const routing::Link* const link = view_->link(packet.out_ifindex);
  if (link == nullptr) return;
  packet.path_mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(link->mtu, 0xffff));
  // A marked one has come with its mark in the place of the source (io/host_mark.h).
  if (packet.mark != 0 && link->has_mac)
    wire::at<wire::Ethernet>(packet.frame()).set_src(link->mac);
}

bool Path::check_size(Packet& packet) {
  if (packet.path_mtu == 0 || fragments::fits(packet, packet.path_mtu) != fragments::Fit::too_big)
    return true;
  answer_too_big(packet);
  return false;
}

/// ip_rcv_options: source routes end here, malformed options get an answer.
bool Path::accept_options(const Packet& packet) {
  if (packet.l4_offset <= packet.l3_offset + sizeof(wire::Ipv4) ||
      packet.family != wire::Family::ip)
    return true;
  const Ipv4Options options = check_ipv4_options(packet);
  if (options.verdict == Ipv4Options::Verdict::malformed) {
    answer(packet, wire::icmp::kParameterProblem, 0, std::uint32_t{options.pointer} << 24);
  }
  return options.verdict == Ipv4Options::Verdict::fine;
}

/// ip_forward_options: the router writes itself into record-route and timestamp options.
void Path::sign_options(Packet& packet) {
  if (packet.l4_offset <= packet.l3_offset + sizeof(wire::Ipv4) ||
      packet.family != wire::Family::ip)
    return;
  const auto day =
      std::chrono::duration_cast<std::chrono::milliseconds>(context_.wall % std::chrono::days(1));
  const wire::Address own =
      view_->interface_address(packet.out_ifindex, packet.family, packet.next_hop);
  update_ipv4_options(packet, check_ipv4_options(packet), own.v4(),
                      static_cast<std::uint32_t>(day.count()));
}

/// Calls `send` with the packet, or with the pieces that it must be cut into.
template <typename Send>
void Path::in_pieces(Packet* packet, std::uint32_t mtu_bytes, Send&& send) {
  if (mtu_bytes == 0 || fragments::fits(*packet, mtu_bytes) == fragments::Fit::whole)
    return send(packet);

  std::array<Packet*, fragments::kMaxPieces> pieces;
  const std::size_t count = fragments::fragment(*packet, mtu_bytes, fragment_ids_, pool_, pieces);
  if (count == 0) return drop(packet, Drop::buffers_exhausted);
  for (std::size_t i = 0; i < count; ++i) send(pieces[i]);
  pool_.release(packet);
}

void Path::transmit(Packet* packet) {
  in_pieces(packet, packet->path_mtu, [this](Packet* piece) { send_to_next_hop(piece); });
}

void Path::send_to_next_hop(Packet* packet) {
  const std::uint16_t port = port_of(shared_, packet->out_ifindex, last_port_);
  if (port == kNoPort) return drop(packet, Drop::not_a_port);
  if (packet->next_hop_family == wire::Family::none)
    return output_.to_wire(port, packet);  // The host's own header.

  const routing::Link* const link = view_->link(packet->out_ifindex);
  if (link == nullptr || !link->is_up()) return drop(packet, Drop::port_down);
  if (!link->has_mac || (link->flags & kFlagNoArp) != 0) {
    write_link_header(*packet, link->mac, {});
    return output_.to_wire(port, packet);
  }

  const routing::NeighbourKey key{packet->out_ifindex, packet->next_hop_family, packet->next_hop};
  const routing::Neighbour neighbour = next_hops_.resolve(shared_.neighbours, key, now_);
  switch (neighbour.status) {
    case routing::Neighbour::Status::resolved:
      write_link_header(*packet, link->mac, neighbour.mac);
      return output_.to_wire(port, packet);
    case routing::Neighbour::Status::failed:
      return failed(packet);
    case routing::Neighbour::Status::unknown:
      if (Packet* const too_many = pending_.hold(key, packet, now_))
        drop(too_many, Drop::neighbour_queue_full);
  }
}

/// A held packet's next hop has answered.
void Path::resolved(Packet* packet, const routing::Mac& mac) {
  const routing::Link* const link = view_->link(packet->out_ifindex);
  const std::uint16_t port = port_of(shared_, packet->out_ifindex, last_port_);
  if (link == nullptr || port == kNoPort) return drop(packet, Drop::port_down);
  write_link_header(*packet, link->mac, mac);
  output_.to_wire(port, packet);
}

/// The next hop doesn't answer (arp_error_report, ndisc_error_report).
void Path::failed(Packet* packet) {
  if (packet->family == wire::Family::ip) {
    answer(*packet, wire::icmp::kUnreachable, wire::icmp::kHostUnreachable);
  } else {
    answer(*packet, wire::icmpv6::kUnreachable, wire::icmpv6::kAddressUnreachable);
  }
  drop(packet, Drop::neighbour_failed);
}

/// Up to the host, as the frame that it was, in the pieces that it came in.
void Path::deliver(Packet* packet) {
  const std::uint16_t port = packet->in_port;
  counters_.to_host.add();
  counters_.ports[port].to_host.add();
  if (!output_.has_host(port)) return pool_.release(packet);
  const routing::Link* const link = view_->link(packet->in_ifindex);
  if (packet->is_from_host && link != nullptr) write_link_header(*packet, link->mac, link->mac);
  in_pieces(packet, link == nullptr ? 0 : link->mtu,
            [&](Packet* piece) { output_.to_host(port, piece); });
}

/// What isn't IP goes between port and host as it is.
void Path::pass_by(Packet* packet) {
  if (packet->is_from_host) {
    output_.to_wire(packet->in_port, packet);
  } else if (output_.has_host(packet->in_port)) {
    output_.to_host(packet->in_port, packet);
  } else {
    pool_.release(packet);
  }
}

void Path::drop(Packet* packet, Drop reason) {
  counters_.drops[static_cast<std::size_t>(reason)].add();
  counters_.ports[packet->in_port].dropped.add();
  packet->drop = reason;
  if (observer_ != nullptr) observer_->on_drop(*packet, reason);
  if (generated_.empty() || packet->ct.entry == 0) {
    tracker_.discard(*packet);
    pool_.release(packet);
  } else {
    dead_.push_back(packet);  // An answer about it may need its entry.
  }
}

}  // namespace weir::pipeline
