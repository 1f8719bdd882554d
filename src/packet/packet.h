#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/endian.h"
#include "packet/drop.h"
#include "wire/address.h"

namespace weir::packet {

/// Which class of buffer a packet lives in, i.e. which list of its pool it goes back to.
enum class BufferClass : std::uint8_t { small, large };

/// What is known of the transport checksum.
enum class Checksum : std::uint8_t {
  unknown,   // In the packet, nobody has verified it.
  verified,  // In the packet and right.
  partial,   // Unfinished: the field holds the pseudo-header's sum, uncomplemented; the device that
             // sends the packet (or software, at `csum_start`) completes it (CHECKSUM_PARTIAL).
};

/// Segmentation that the sending device still has to do: the packet is one big segment of many.
struct Gso {
  enum class Type : std::uint8_t { none, tcp4, tcp6, udp };
  Type type = Type::none;
  bool has_ecn = false;
  std::uint16_t segment_bytes = 0;  // Payload of one segment.
};

/// A VLAN tag in the order of the wire (outermost first).
struct VlanTag {
  Be16 protocol;          // 0x8100 or 0x88a8.
  std::uint16_t tci = 0;  // Host order: priority, DEI, id.
  std::uint16_t id() const { return tci & 0xfff; }
};

/// What conntrack says of a packet; the values are the kernel's enum ip_conntrack_info.
enum class CtInfo : std::uint8_t {
  established = 0,
  related = 1,
  is_new = 2,
  established_reply = 3,
  related_reply = 4,
  none = 7,  // No entry: not looked up yet, INVALID, or untracked (see CtState).
};

/// Why there is no entry.
enum class CtState : std::uint8_t { not_tracked_yet, tracked, invalid, untracked };

/// The packet's reference to its conntrack entry. `entry` is the arena's number, valid within the
/// epoch of the batch; zero means none.
struct CtRef {
  std::uint32_t entry = 0;
  CtInfo info = CtInfo::none;
  CtState state = CtState::not_tracked_yet;
  std::uint8_t reason =
      0;  // A conntrack::Reason: why it is INVALID, or had no effect on its entry.
  std::uint8_t zone_directions =
      3;                     // For which directions `zone` holds, 1 << Direction; else zone 0.
  std::uint16_t zone = 0;    // Template: what rules before tracking say (`ct zone set`).
  std::uint32_t events = 0;  // What this packet did to its entry, 1 << IPCT_*.
  bool is_reply() const {
    return info == CtInfo::established_reply || info == CtInfo::related_reply;
  }
};

inline constexpr std::uint16_t kNoOffset = 0xffff;

/// The most pieces of which a datagram is put together again.
inline constexpr std::uint16_t kMaxPieces = 256;

/// How the frame was addressed on its link; the values are PACKET_HOST and so on of
/// <linux/if_packet.h>.
enum class LinkType : std::uint8_t {
  host = 0,
  broadcast = 1,
  multicast = 2,
  other_host = 3,
  outgoing = 4
};

/// One packet: a frame in a buffer of a Pool, and what the stages found out about it.
///
/// The frame is `buffer[start .. start + length)`, from its Ethernet header on (link types without
/// one get a zeroed Ethernet header from their port). Offsets count from the frame's first byte. A
/// packet belongs to one worker at a time; everything in it is that worker's. Stages fill in the
/// groups below from top to bottom. The pool resets all of it for every new packet (`reset()`).
struct Packet {
  // Storage (the pool's; constant for a packet's life but for start and length).
  std::uint8_t* buffer = nullptr;
  std::uint32_t capacity_bytes = 0;
  std::uint32_t start = 0;
  std::uint32_t length = 0;
  BufferClass buffer_class = BufferClass::small;

  // What the port says (io/).
  LinkType link_type = LinkType::host;
  std::uint16_t in_port = 0;  // The port's number in the engine.
  Time arrived{};             // Capture time in replay, else the batch's clock.
  Checksum checksum = Checksum::unknown;
  std::uint16_t csum_start = 0;  // Checksum::partial: where the sum begins, from the frame's start,
  std::uint16_t csum_offset = 0;  // and where, from there, the result goes.
  bool is_cut = false;  // A capture's snap length cut it; zeros stand for what is missing.
  Gso gso;
  std::array<VlanTag, 2> vlan{};  // Tags, whether they came in the frame or out of band; the frame
  std::uint8_t vlan_count = 0;    // itself holds none while weir has it: ports strip and restore.

  // What the header check found (wire/, pipeline/).
  wire::Family family = wire::Family::none;
  std::uint8_t l4_protocol =
      0;                     // After IPv6's extension headers. Of a later fragment: as said there.
  bool is_fragment = false;  // Any piece of a fragmented datagram, before reassembly.
  bool is_later_fragment = false;  // Has no transport header: fragment offset is not zero.
  std::uint16_t l3_offset = 0;     // Always 14 today.
  std::uint16_t l4_offset = 0;
  std::uint32_t ip_length =
      0;  // Bytes from l3_offset to the end of the datagram (padding excluded):
          // IPv4's total length, IPv6's 40 + payload (so up to 65,575).

  // Reassembly (fragments/): nonzero when this datagram came in pieces.
  std::uint16_t fragment_count = 0;      // Lengths of the pieces: piece_bytes().
  std::uint16_t fragment_max_bytes = 0;  // The largest piece, IP header included (frag_max_size).
  bool fragment_had_df = false;          // The largest piece had DF (the kernel's IPSKB_FRAG_PMTU).

  // Connection tracking.
  CtRef ct;

  // Rules and routing.
  std::uint32_t mark = 0;
  std::uint32_t priority = 0;
  std::uint32_t in_ifindex = 0;
  std::uint32_t out_ifindex = 0;
  wire::Address next_hop;  // Of next_hop_family; the destination itself when on link.
  wire::Family next_hop_family = wire::Family::none;
  std::uint16_t path_mtu = 0;  // MTU of the route that was chosen; zero before routing.
  bool is_traced = false;      // `meta nftrace set 1`.
  bool is_from_host = false;
  Drop drop = Drop::none;

  std::uint8_t* frame() { return buffer + start; }
  const std::uint8_t* frame() const { return buffer + start; }
  MutableBytes bytes() { return {frame(), length}; }
  Bytes bytes() const { return {frame(), length}; }
  /// From the IP header to the end of the datagram.
  MutableBytes l3() { return {frame() + l3_offset, ip_length}; }
  Bytes l3() const { return {frame() + l3_offset, ip_length}; }
  /// From the transport header to the end of the datagram; empty for a later fragment.
  MutableBytes l4() {
    return {frame() + l4_offset, static_cast<std::size_t>(l3_offset + ip_length - l4_offset)};
  }
  Bytes l4() const {
    return {frame() + l4_offset, static_cast<std::size_t>(l3_offset + ip_length - l4_offset)};
  }
  std::uint32_t headroom() const { return start; }
  std::uint32_t tailroom() const { return capacity_bytes - start - length - 2U * fragment_count; }

  /// Of a reassembled datagram: the bytes of payload that piece `i` (below fragment_count) brought,
  /// IP and extension headers before the fragment header excluded. They are kept at the buffer's
  /// very end.
  std::uint16_t piece_bytes(std::size_t i) const {
    return load<std::uint16_t>(buffer + capacity_bytes - 2 * (i + 1));
  }
  void set_piece_bytes(std::size_t i, std::uint16_t bytes) {
    store(buffer + capacity_bytes - 2 * (i + 1), bytes);
  }

  /// Forgets everything but the storage and puts the empty frame behind `headroom_bytes`.
  void reset(std::uint32_t headroom_bytes);
  /// Becomes what `other` is but for storage, start and length.
  void take_metadata(const Packet& other);
};

inline void Packet::reset(std::uint32_t headroom_bytes) {
  std::uint8_t* const storage = buffer;
  const std::uint32_t capacity = capacity_bytes;
  const BufferClass storage_class = buffer_class;
  *this = Packet{};
  buffer = storage;
  capacity_bytes = capacity;
  buffer_class = storage_class;
  start = headroom_bytes;
}

inline void Packet::take_metadata(const Packet& other) {
  std::uint8_t* const storage = buffer;
  const std::uint32_t capacity = capacity_bytes;
  const BufferClass storage_class = buffer_class;
  const std::uint32_t first = start;
  const std::uint32_t bytes = length;
  *this = other;
  buffer = storage;
  capacity_bytes = capacity;
  buffer_class = storage_class;
  start = first;
  length = bytes;
}

}  // namespace weir::packet
