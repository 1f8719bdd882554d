#pragma once

#include "packet/packet.h"
#include "routing/types.h"

namespace weir::pipeline {

/// What the packet's route is looked up by. Requires: checked headers.
routing::FlowKey flow_key(const packet::Packet& packet);

/// What a local packet's first routing was based on. Rules or NAT that change it cause a second
/// one.
struct RoutingBasis {
  packet::Packet* packet = nullptr;
  wire::Address src;
  wire::Address dst;
  std::uint32_t mark = 0;
  std::uint8_t tos = 0;

  static RoutingBasis of(packet::Packet& packet);
  bool is_still_true() const;
};

}  // namespace weir::pipeline
