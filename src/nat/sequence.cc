#include "nat/sequence.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::nat {
namespace {

using conntrack::SequenceAdjustment;
using wire::Tcp;

constexpr std::size_t kHeaderMax = 60;

void adjust_number(std::uint8_t* at, const SequenceAdjustment& acknowledged) {
  store(at, Be32::from_host(acknowledged.sent(load<Be32>(at).host())));
}

/// The blocks of a SACK option. Malformed options end the walk, as they do for the receiver.
void adjust_sack(MutableBytes options, const SequenceAdjustment& acknowledged) {
  constexpr std::uint8_t kEnd = 0;
  constexpr std::uint8_t kNothing = 1;
  for (std::size_t i = 0; i < options.size() && options[i] != kEnd;) {
    if (options[i] == kNothing) {
      ++i;
      continue;
    }
    if (i + 1 >= options.size()) return;
    const std::size_t bytes = options[i + 1];
    if (bytes < 2 || bytes > options.size() - i) return;
    if (options[i] == wire::tcp_option::kSack && (bytes - 2) % 8 == 0) {
      for (std::size_t at = i + 2; at < i + bytes; at += 4) {
        adjust_number(&options[at], acknowledged);
      }
    }
    i += bytes;
  }
}

/// Whatever has changed in the header, by 16-bit words.
void fix_checksum(MutableBytes header, const std::array<std::uint8_t, kHeaderMax>& before) {
  wire::ChecksumDelta delta;
  for (std::size_t i = 0; i + 1 < header.size(); i += 2) {
    const Be16 from = load<Be16>(&before[i]);
    const Be16 to = load<Be16>(&header[i]);
    if (from != to) delta.replace(from, to);
  }
  if (delta.is_nothing()) return;
  std::uint8_t* const field = &header[Tcp::kChecksumOffset];
  store(field, delta.apply(load<Be16>(field)));
}

}  // namespace

bool adjust_sequence(packet::Packet& packet,
                     const std::array<SequenceAdjustment, 2>& by_direction) {
  if (packet.l4_protocol != wire::protocol::kTcp || packet.is_later_fragment) return false;
  const MutableBytes l4 = packet.l4();
  if (l4.size() < sizeof(Tcp)) return false;
  auto& tcp = wire::at<Tcp>(l4.data());
  const std::size_t header_bytes = tcp.header_bytes();
  if (header_bytes < sizeof(Tcp) || header_bytes > l4.size()) return false;

  const MutableBytes header = l4.first(header_bytes);
  std::array<std::uint8_t, kHeaderMax> before;
  std::ranges::copy(header, before.begin());
  const std::size_t own = packet.ct.is_reply() ? 1 : 0;
  const SequenceAdjustment& acknowledged = by_direction[1 - own];
  tcp.set_sequence(by_direction[own].seen(tcp.sequence()));
  if (tcp.has(Tcp::kAck)) {
    adjust_number(&l4[8], acknowledged);
    adjust_sack(header.subspan(sizeof(Tcp)), acknowledged);
  }
  if (packet.checksum != packet::Checksum::partial) fix_checksum(header, before);
  return true;
}

}  // namespace weir::nat
