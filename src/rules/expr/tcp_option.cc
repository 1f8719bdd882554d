#include "rules/expr/tcp_option.h"

#include <netinet/in.h>

#include <array>
#include <cstring>

#include "rules/expr/header_base.h"
#include "wire/checksum.h"
#include "wire/tcp.h"

namespace weir::rules {
namespace {

constexpr std::uint32_t kChecksumOffset = 16;
constexpr std::uint8_t kNoOperation = 1;

/// Replaces bytes of the header at any offset. The sum is taken over the 16-bit words that they lie
/// in.
void replace(packet::Packet& packet, std::uint32_t offset, Bytes value) {
  std::uint8_t* const tcp = packet.frame() + packet.l4_offset;
  const std::uint32_t first = offset & ~1u;
  const std::uint32_t bytes = ((offset + value.size() + 1) & ~1u) - first;
  const wire::Sum before = wire::sum(Bytes(tcp + first, bytes));
  std::memcpy(tcp + offset, value.data(), value.size());
  // Of an unfinished checksum only the pseudo-header's part is there, which options don't belong
  // to.
  if (packet.checksum == packet::Checksum::partial) return;

  const wire::Sum after = wire::sum(Bytes(tcp + first, bytes));
  std::uint8_t* const at = tcp + kChecksumOffset;
  const wire::Sum old{static_cast<std::uint16_t>(~load<Be16>(at).raw)};
  const wire::Sum without{static_cast<std::uint16_t>(~wire::fold(before).raw)};
  store(at, wire::finish(old + without + after));
}

}  // namespace

std::uint32_t tcp_header_bytes(const packet::Packet& packet) {
  if (packet.l4_protocol != IPPROTO_TCP || !has_transport(packet)) return 0;
  const Bytes segment = packet.l4();
  if (segment.size() < sizeof(wire::Tcp)) return 0;
  const std::uint32_t bytes = (segment[12] >> 4) * 4u;
  return bytes < sizeof(wire::Tcp) || bytes > segment.size() ? 0 : bytes;
}

std::optional<TcpOptionPlace> find_tcp_option(const packet::Packet& packet, std::uint8_t kind) {
  const std::uint32_t header_bytes = tcp_header_bytes(packet);
  if (header_bytes == 0) return std::nullopt;
  const std::uint8_t* const tcp = packet.l4().data();
  std::uint32_t length = 0;
  for (std::uint32_t at = sizeof(wire::Tcp); at + 1 < header_bytes; at += length) {
    // As the kernel: end and no-operation are one byte, as is an option that claims to have none.
    length = tcp[at] <= kNoOperation || tcp[at + 1] == 0 ? 1 : tcp[at + 1];
    if (tcp[at] == kind) return TcpOptionPlace{.offset = at, .length = length};
  }
  return std::nullopt;
}

void write_tcp_option(packet::Packet& packet, std::uint32_t offset, std::uint8_t kind,
                      Bytes value) {
  const std::uint8_t* const at = packet.frame() + packet.l4_offset + offset;
  if (std::memcmp(at, value.data(), value.size()) == 0) return;
  const bool is_mss = kind == wire::tcp_option::kMss && value.size() == 2;
  if (is_mss && load<Be16>(at).host() <= load<Be16>(value.data()).host()) return;
  replace(packet, offset, value);
}

void strip_tcp_option(packet::Packet& packet, const TcpOptionPlace& place) {
  std::array<std::uint8_t, 40> nothing;
  nothing.fill(kNoOperation);
  replace(packet, place.offset, Bytes(nothing).first(place.length));
}

}  // namespace weir::rules
