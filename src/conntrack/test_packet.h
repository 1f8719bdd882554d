#pragma once

#include <initializer_list>
#include <memory>
#include <vector>

#include "packet/batch.h"
#include "packet/packet.h"
#include "wire/build.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace weir::conntrack {

/// A packet for tests, with its frame and what the header check would have found.
class TestPacket : public packet::Packet {
 public:
  explicit TestPacket(const wire::FrameSpec& spec) : TestPacket(wire::build_frame(spec)) {}
  explicit TestPacket(wire::ByteVector frame) : frame_(std::move(frame)) { check(); }
  TestPacket(const TestPacket&) = delete;
  TestPacket& operator=(const TestPacket&) = delete;

  /// Ready to be sent once more: what tracking and rules have found is forgotten.
  void again() { check(); }
  wire::ByteVector& raw() { return frame_; }

 private:
  void check() {
    static_cast<packet::Packet&>(*this) = packet::Packet{};
    buffer = frame_.data();
    capacity_bytes = length = static_cast<std::uint32_t>(frame_.size());
    l3_offset = 14;
    ip_length = static_cast<std::uint16_t>(length - 14);
    if (frame_[14] >> 4 == 4) {
      family = wire::Family::ip;
      const auto& ip = wire::at<wire::Ipv4>(&frame_[14]);
      l4_protocol = ip.protocol();
      l4_offset = static_cast<std::uint16_t>(14 + ip.header_bytes());
    } else {
      family = wire::Family::ip6;
      const wire::Ipv6Chain chain = wire::walk_chain(Bytes(frame_).subspan(14));
      l4_protocol = chain.protocol;
      l4_offset = static_cast<std::uint16_t>(14 + chain.transport_offset);
    }
  }

  wire::ByteVector frame_;
};

inline packet::Batch batch_of(Time now, std::initializer_list<packet::Packet*> packets) {
  packet::Batch batch;
  batch.now = now;
  for (packet::Packet* const packet : packets) batch.add(packet);
  return batch;
}

}  // namespace weir::conntrack
