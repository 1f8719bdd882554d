#include "fragments/fragmenter.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "packet/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::fragments {
namespace {

constexpr std::uint32_t kIpv6MinMtu = 1280;  // RFC 8200 section 5.

/// Length of one segment of a GSO packet, from the IP header on.
std::uint32_t segment_ip_bytes(const packet::Packet& packet) {
  std::uint32_t headers = packet.l4_offset - std::uint32_t{packet.l3_offset};
  const Bytes l4 = packet.l4();
  const auto* const tcp = wire::view<wire::Tcp>(l4);
  const bool is_tcp = packet.l4_protocol == wire::protocol::kTcp && tcp != nullptr;
  headers += is_tcp ? static_cast<std::uint32_t>(tcp->header_bytes()) : 8;
  return headers + packet.gso.segment_bytes;
}

bool has_df(const packet::Packet& packet) {
  return wire::at<wire::Ipv4>(packet.l3().data()).has_df();
}

/// The sum of what the pieces brought.
std::uint32_t pieces_bytes(const packet::Packet& packet) {
  std::uint32_t total = 0;
  for (std::size_t i = 0; i < packet.fragment_count; ++i) total += packet.piece_bytes(i);
  return total;
}

/// Where an IPv6 packet may be cut (RFC 8200 section 4.5): the headers before it are in each
/// fragment. `next_header_at` is where, from the IP header, what follows is named.
struct Cut {
  std::uint32_t header_bytes = sizeof(wire::Ipv6);
  std::uint32_t next_header_at = 6;
};

/// After hop-by-hop and routing headers, and destination options before a routing header. Where the
/// packet had been cut before, by what its pieces sum up to, is preferred if that is the end of a
/// header.
Cut find_cut(const packet::Packet& packet) {
  const Bytes l3 = packet.l3();
  const std::uint32_t wanted = packet.ip_length - pieces_bytes(packet);
  Cut here;
  Cut last_unfragmentable;
  std::uint8_t next = l3[here.next_header_at];
  for (unsigned i = 0; i < wire::kMaxExtensionHeaders; ++i) {
    if (here.header_bytes == wanted && packet.fragment_count != 0) return here;
    if (!wire::is_extension_header(next) || here.header_bytes + 8 > l3.size()) break;
    const std::size_t bytes = wire::extension_header_bytes(next, l3[here.header_bytes + 1]);
    if (here.header_bytes + bytes > l3.size()) break;
    const bool is_unfragmentable =
        next == wire::protocol::kHopByHop || next == wire::protocol::kRouting;
    next = l3[here.header_bytes];
    here.next_header_at = here.header_bytes;
    here.header_bytes += static_cast<std::uint32_t>(bytes);
    if (is_unfragmentable) last_unfragmentable = here;
  }
  return last_unfragmentable;
}

/// Sizes of the payloads to send.
struct Plan {
  std::array<std::uint16_t, kMaxPieces> bytes;
  std::size_t count = 0;
  bool is_as_received = false;
};

/// The sizes that came in, if each fits `room` and they are `payload` together.
bool plan_as_received(const packet::Packet& packet, std::uint32_t payload, std::uint32_t room,
                      Plan& plan) {
  if (packet.fragment_count < 2 || pieces_bytes(packet) != payload) return false;
  for (std::size_t i = 0; i < packet.fragment_count; ++i) {
    plan.bytes[i] = packet.piece_bytes(i);
    if (plan.bytes[i] > room) return false;
  }
  plan.count = packet.fragment_count;
  plan.is_as_received = true;
  return true;
}

bool plan_by_room(std::uint32_t payload, std::uint32_t room, Plan& plan) {
  plan.count = 0;
  while (payload != 0) {
    const std::uint32_t bytes = payload <= room ? payload : room & ~7U;
    if (bytes == 0 || plan.count == plan.bytes.size()) return false;
    plan.bytes[plan.count++] = static_cast<std::uint16_t>(bytes);
    payload -= bytes;
  }
  return true;
}

/// Room for payload, given the MTU and the largest piece that came in (IP headers included).
std::uint32_t room_for_payload(const packet::Packet& whole, std::uint32_t mtu,
                               std::uint32_t headers) {
  std::uint32_t limit = mtu;
  if (whole.fragment_max_bytes != 0)
    limit = std::min<std::uint32_t>(limit, whole.fragment_max_bytes);
  if (whole.family == wire::Family::ip6) limit = std::max(limit, kIpv6MinMtu);
  return limit > headers ? limit - headers : 0;
}

packet::Packet* make_piece(const packet::Packet& whole, std::uint32_t headers,
                           std::uint32_t payload_at, std::uint16_t payload, packet::Pool& pool) {
  const std::uint32_t frame_bytes = whole.l3_offset + headers + payload;
  packet::Packet* const piece = pool.take(frame_bytes);
  if (piece == nullptr) return nullptr;
  piece->take_metadata(whole);
  piece->length = frame_bytes;
  piece->ip_length = headers + payload;
  piece->is_fragment = true;
  piece->fragment_count = 0;
  piece->fragment_max_bytes = 0;
  piece->checksum = packet::Checksum::verified;
  std::memcpy(piece->frame() + whole.l3_offset + headers,
              whole.frame() + whole.l3_offset + payload_at, payload);
  return piece;
}

/// Options without the copy bit are in the first fragment only; later ones have no-operations in
/// their place (RFC 791 section 3.1, ip_options_fragment).
void blank_uncopied_options(wire::Ipv4& ip) {
  MutableBytes options(ip.raw + sizeof(wire::Ipv4), ip.header_bytes() - sizeof(wire::Ipv4));
  wire::OptionWalk walk(options);
  while (walk.next()) {
    if ((walk.kind() & wire::ipv4_option::kCopyBit) != 0) continue;
    const std::size_t bytes = walk.whole().size();
    std::memset(options.data() + walk.offset(), wire::ipv4_option::kNoOperation, bytes);
  }
}

/// A finished fragmentation of `whole` at hand, its pieces still without their headers.
struct Pieces {
  std::span<packet::Packet*> packets;
  const packet::Packet& whole;
  const Plan& plan;
};

void write_ip_headers(const Pieces& pieces, std::uint32_t headers) {
  // The kernel marks the pieces only when it cuts anew; resent as received they lose DF.
  const bool keeps_df = pieces.whole.fragment_had_df && !pieces.plan.is_as_received;
  std::uint32_t offset = 0;
  for (std::size_t i = 0; i < pieces.plan.count; ++i) {
    packet::Packet& piece = *pieces.packets[i];
    std::uint8_t* const l3 = piece.frame() + piece.l3_offset;
    std::memcpy(l3, pieces.whole.l3().data(), headers);
    auto& ip = wire::at<wire::Ipv4>(l3);
    if (i != 0) blank_uncopied_options(ip);
    ip.set_total_bytes(static_cast<std::uint16_t>(piece.ip_length));
    const bool is_last = i + 1 == pieces.plan.count;
    ip.set_fragment_field(static_cast<std::uint16_t>(offset / 8 |
                                                     (is_last ? 0 : wire::Ipv4::kMoreFragments) |
                                                     (keeps_df ? wire::Ipv4::kDontFragment : 0)));
    ip.fill_checksum();
    piece.is_later_fragment = i != 0;
    offset += pieces.plan.bytes[i];
  }
}

void write_ip6_headers(const Pieces& pieces, const Cut& cut, std::uint32_t id) {
  const Bytes original = pieces.whole.l3();
  std::uint32_t offset = 0;
  for (std::size_t i = 0; i < pieces.plan.count; ++i) {
    packet::Packet& piece = *pieces.packets[i];
    std::uint8_t* const l3 = piece.frame() + piece.l3_offset;
    std::memcpy(l3, original.data(), cut.header_bytes);
    l3[cut.next_header_at] = wire::protocol::kFragment;
    wire::at<wire::Ipv6>(l3).set_payload_bytes(
        static_cast<std::uint16_t>(piece.ip_length - sizeof(wire::Ipv6)));
    auto& fragment = wire::at<wire::Ipv6Fragment>(l3 + cut.header_bytes);
    fragment.set_next_header(original[cut.next_header_at]);
    fragment.set_reserved();
    fragment.set_field(offset, i + 1 != pieces.plan.count);
    fragment.set_id(Be32::from_host(id));
    piece.is_later_fragment = i != 0;
    piece.l4_offset = static_cast<std::uint16_t>(piece.l4_offset + sizeof(wire::Ipv6Fragment));
    if (i != 0) {
      piece.l4_offset = static_cast<std::uint16_t>(piece.l3_offset + cut.header_bytes +
                                                   sizeof(wire::Ipv6Fragment));
    }
    offset += pieces.plan.bytes[i];
  }
}

/// The unsent Ethernet header of every piece.
void write_link_headers(const Pieces& pieces) {
  for (std::size_t i = 0; i < pieces.plan.count; ++i) {
    std::memcpy(pieces.packets[i]->frame(), pieces.whole.frame(), pieces.whole.l3_offset);
  }
}

}  // namespace

Fit fits_unusual(const packet::Packet& packet, std::uint32_t mtu_bytes) {
  const bool is_ip = packet.family == wire::Family::ip;
  const bool came_in_pieces = packet.fragment_count != 0;
  if (packet.ip_length <= mtu_bytes) {
    if (!came_in_pieces) return Fit::whole;
    if (is_ip) return Fit::fragment;
    return packet.ip_length > packet.fragment_max_bytes ? Fit::fragment : Fit::whole;
  }
  if (packet.gso.type != packet::Gso::Type::none) {
    return segment_ip_bytes(packet) <= mtu_bytes ? Fit::whole : Fit::too_big;
  }
  if (is_ip && !has_df(packet)) return Fit::fragment;
  return came_in_pieces && packet.fragment_max_bytes <= mtu_bytes ? Fit::fragment : Fit::too_big;
}

std::uint32_t FragmentIds::next() {
  // SplitMix64 (Steele, Lea, Flood 2014): the seed is secret, so the sequence can't be foretold.
  state_ += 0x9e3779b97f4a7c15;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<std::uint32_t>((z ^ (z >> 31)) >> 16);
}

std::size_t fragment(packet::Packet& whole, std::uint32_t mtu_bytes, FragmentIds& ids,
                     packet::Pool& pool, std::span<packet::Packet*> out) {
  packet::finish_checksum(whole);
  const bool is_ip = whole.family == wire::Family::ip;
  Cut cut;
  cut.header_bytes =
      is_ip ? static_cast<std::uint32_t>(wire::at<wire::Ipv4>(whole.l3().data()).header_bytes())
            : 0;
  if (!is_ip) cut = find_cut(whole);
  const std::uint32_t headers =
      cut.header_bytes + (is_ip ? 0 : std::uint32_t{sizeof(wire::Ipv6Fragment)});
  const std::uint32_t payload = whole.ip_length - cut.header_bytes;
  const std::uint32_t room = room_for_payload(whole, mtu_bytes, headers);

  Plan plan;
  if (!plan_as_received(whole, payload, room, plan) && !plan_by_room(payload, room, plan)) return 0;
  if (plan.count > out.size()) return 0;

  std::uint32_t at = cut.header_bytes;
  for (std::size_t i = 0; i < plan.count; ++i) {
    out[i] = make_piece(whole, headers, at, plan.bytes[i], pool);
    if (out[i] == nullptr) {
      for (std::size_t made = 0; made < i; ++made) pool.release(out[made]);
      return 0;
    }
    at += plan.bytes[i];
  }
  const Pieces pieces{out.first(plan.count), whole, plan};
  write_link_headers(pieces);
  if (is_ip) {
    write_ip_headers(pieces, headers);
  } else {
    write_ip6_headers(pieces, cut, ids.next());
  }
  return plan.count;
}

}  // namespace weir::fragments
