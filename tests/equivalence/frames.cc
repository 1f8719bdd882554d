#include "tests/equivalence/frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/endian.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"

namespace weir::test {
namespace {

constexpr std::size_t kLink = 14, kIp = 20, kIp6 = 40, kFragment = 8;
constexpr std::size_t kMostQuoted = 500;

std::uint16_t u16(Bytes bytes, std::size_t at) { return load<Be16>(bytes.data() + at).host(); }
std::uint32_t u32(Bytes bytes, std::size_t at) { return load<Be32>(bytes.data() + at).host(); }

void read_transport(Bytes l4, Seen& seen) {
  switch (seen.view.protocol) {
    case wire::protocol::kTcp:
      if (l4.size() < 20) return;
      seen.view.src_port = u16(l4, 0);
      seen.view.dst_port = u16(l4, 2);
      seen.sequence = u32(l4, 4);
      return;
    case wire::protocol::kUdp:
      if (l4.size() < 8) return;
      seen.view.src_port = u16(l4, 0);
      seen.view.dst_port = u16(l4, 2);
      seen.payload.assign(l4.begin() + 8, l4.end());
      return;
    case wire::protocol::kIcmp:
    case wire::protocol::kIcmpv6:
      if (l4.size() < 8) return;
      seen.icmp_type = l4[0];
      seen.view.echo_id = u16(l4, 4);
      seen.payload.assign(l4.begin() + 8, l4.end());
      return;
    default:
      return;
  }
}

std::optional<Seen> read_ip(Bytes l3) {
  if (l3.size() < kIp || l3[0] != 0x45) return {};
  const std::size_t total = u16(l3, 2);
  if (total < kIp || total > l3.size()) return {};
  const std::uint16_t field = u16(l3, 6);
  Seen seen;
  seen.view.family = wire::Family::ip;
  seen.view.protocol = l3[9];
  seen.view.src = wire::to_string(wire::Address::from(l3.subspan(12, 4)), wire::Family::ip);
  seen.view.dst = wire::to_string(wire::Address::from(l3.subspan(16, 4)), wire::Family::ip);
  seen.is_fragment = (field & 0x3fff) != 0;
  seen.is_later_fragment = (field & 0x1fff) != 0;
  seen.fragment_id = u16(l3, 4);
  if (!seen.is_later_fragment) read_transport(l3.subspan(kIp, total - kIp), seen);
  return seen;
}

std::optional<Seen> read_ip6(Bytes l3) {
  if (l3.size() < kIp6) return {};
  const std::size_t total = kIp6 + u16(l3, 4);
  if (total > l3.size()) return {};
  Seen seen;
  seen.view.family = wire::Family::ip6;
  seen.view.protocol = l3[6];
  seen.view.src = wire::to_string(wire::Address::from(l3.subspan(8, 16)), wire::Family::ip6);
  seen.view.dst = wire::to_string(wire::Address::from(l3.subspan(24, 16)), wire::Family::ip6);
  Bytes l4 = l3.subspan(kIp6, total - kIp6);
  if (seen.view.protocol == wire::protocol::kFragment) {
    if (l4.size() < kFragment) return {};
    seen.is_fragment = true;
    seen.is_later_fragment = (u16(l4, 2) & 0xfff8) != 0;
    seen.fragment_id = u32(l4, 4);
    seen.view.protocol = l4[0];
    l4 = l4.subspan(kFragment);
  }
  if (!seen.is_later_fragment) read_transport(l4, seen);
  return seen;
}

}  // namespace

View View::turned() const {
  View other = *this;
  std::swap(other.src, other.dst);
  std::swap(other.src_port, other.dst_port);
  return other;
}

std::optional<Seen> read(Bytes frame) {
  if (frame.size() < kLink) return {};
  const std::uint16_t type = u16(frame, 12);
  if (type == 0x0800) return read_ip(frame.subspan(kLink));
  if (type == 0x86dd) return read_ip6(frame.subspan(kLink));
  return {};
}

std::vector<Frame> cut(const Frame& frame, std::size_t piece_bytes, std::uint32_t id) {
  const bool is_ip = u16(frame, 12) == 0x0800;
  const std::size_t headers = kLink + (is_ip ? kIp : kIp6);
  const std::size_t payload = frame.size() - headers;
  std::vector<Frame> pieces;
  for (std::size_t at = 0; at < payload; at += piece_bytes) {
    const std::size_t bytes = std::min(piece_bytes, payload - at);
    const bool has_more = at + bytes < payload;
    Frame piece(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(headers));
    if (is_ip) {
      auto& ip = wire::at<wire::Ipv4>(piece.data() + kLink);
      ip.set_total_bytes(static_cast<std::uint16_t>(kIp + bytes));
      ip.set_id(Be16::from_host(static_cast<std::uint16_t>(id)));
      ip.set_fragment_field(static_cast<std::uint16_t>((has_more ? 0x2000 : 0) | at / 8));
      ip.fill_checksum();
    } else {
      auto& ip = wire::at<wire::Ipv6>(piece.data() + kLink);
      const std::uint8_t protocol = piece[kLink + 6];
      ip.set_payload_bytes(static_cast<std::uint16_t>(kFragment + bytes));
      ip.set_next_header(wire::protocol::kFragment);
      Frame header(kFragment);
      header[0] = protocol;
      store(header.data() + 2,
            Be16::from_host(static_cast<std::uint16_t>(at | (has_more ? 1 : 0))));
      store(header.data() + 4, Be32::from_host(id));
      piece.insert(piece.end(), header.begin(), header.end());
    }
    const auto from = frame.begin() + static_cast<std::ptrdiff_t>(headers + at);
    piece.insert(piece.end(), from, from + static_cast<std::ptrdiff_t>(bytes));
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Frame unreachable(const Frame& about, const std::string& from) {
  const auto seen = read(about);
  const bool is_ip = seen->view.family == wire::Family::ip;
  const std::size_t quoted = std::min(about.size() - kLink, kMostQuoted);
  return wire::build_frame({
      .src = from,
      .dst = seen->view.src,
      .protocol = is_ip ? wire::protocol::kIcmp : wire::protocol::kIcmpv6,
      .icmp_type = static_cast<std::uint8_t>(is_ip ? 3 : 1),
      .icmp_code = static_cast<std::uint8_t>(is_ip ? 3 : 4),
      .payload = {about.begin() + kLink,
                  about.begin() + static_cast<std::ptrdiff_t>(kLink + quoted)},
  });
}

std::string conversation(Bytes frame) {
  const auto seen = read(frame);
  if (!seen) return "other";
  const View& view = seen->view;
  std::string key = fmt::format("{} {} {}", view.protocol, view.src, view.dst);
  // Pieces come one after another, and nothing but their number is in all of them.
  if (seen->is_fragment) return key + " in pieces";
  if (view.protocol == wire::protocol::kIcmp || view.protocol == wire::protocol::kIcmpv6) {
    return key + fmt::format(" {} {}", seen->icmp_type, view.echo_id);
  }
  return key + fmt::format(" {} {}", view.src_port, view.dst_port);
}

Frame comparable(Frame frame) {
  const auto seen = read(frame);
  if (seen && seen->is_fragment && seen->view.family == wire::Family::ip6) {
    store(frame.data() + kLink + kIp6 + 4, std::uint32_t{0});
  }
  return frame;
}

}  // namespace weir::test
