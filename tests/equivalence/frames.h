#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "wire/address.h"
#include "wire/build.h"

namespace weir::test {

using Frame = std::vector<std::uint8_t>;

/// Who talks to whom, as somebody sees it on his wire.
struct View {
  wire::Family family = wire::Family::ip;
  std::uint8_t protocol = 0;
  std::string src{}, dst{};
  std::uint16_t src_port = 0, dst_port = 0;  // Of TCP and UDP.
  std::uint16_t echo_id = 0;                 // Of ICMP echo.

  View turned() const;
};

/// What a frame says, as far as the tests want to know.
struct Seen {
  View view;
  bool is_fragment = false;  // Then only a first piece has more than addresses.
  bool is_later_fragment = false;
  std::uint32_t fragment_id = 0;
  std::uint8_t icmp_type = 0;
  std::uint32_t sequence = 0;  // TCP.
  std::vector<std::uint8_t> payload{};
};

/// Reads IPv4 without options and IPv6 with at most a fragment header; nothing for other frames.
std::optional<Seen> read(Bytes frame);

/// The frame cut into fragments with at most `piece_bytes` (a multiple of eight) of payload each.
std::vector<Frame> cut(const Frame& frame, std::size_t piece_bytes, std::uint32_t id);

/// The ICMP error by which `from` answers a frame that it has got: it quotes the frame's datagram.
Frame unreachable(const Frame& about, const std::string& from);

/// What keeps frames of different conversations apart: those with equal keys must stay in order,
/// but for fragments.
std::string conversation(Bytes frame);
/// The frame without what is chosen anew for every packet: an IPv6 fragment's number.
Frame comparable(Frame frame);

}  // namespace weir::test
