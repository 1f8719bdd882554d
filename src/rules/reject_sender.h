#pragma once

#include <cstdint>

#include "packet/packet.h"

namespace weir::rules {

/// How the reject expression answers a packet; each worker's path implements it. Answers are made
/// at once (the packet is dropped right afterwards) and sent when the batch is done, through the
/// output hooks like anything that the host sends. Both may decide to stay silent: about ICMP
/// errors, later fragments, multicast, and when the rate limit is reached.
class RejectSender {
 public:
  virtual ~RejectSender() = default;

  /// An ICMP or ICMPv6 error, by the packet's family (nf_send_unreach, nf_send_unreach6).
  virtual void reject_icmp(packet::Packet& about, std::uint8_t type, std::uint8_t code) = 0;
  /// A TCP RST (nf_send_reset); nothing when the packet isn't TCP.
  virtual void reject_tcp_reset(packet::Packet& about) = 0;
};

}  // namespace weir::rules
