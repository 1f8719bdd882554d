#pragma once

#include <cstddef>
#include <optional>

#include "base/bytes.h"
#include "base/endian.h"
#include "packet/packet.h"

namespace weir::io {

/// Whether captures of this link type (libpcap's DLT_ value) can be read.
bool is_known_link(int dlt);

/// What precedes the payload in a captured packet.
struct CaptureLink {
  std::size_t header_bytes = 0;  // To be skipped; zero for Ethernet, whose header is kept.
  bool is_ethernet = false;
  Be16 ethertype{};  // Otherwise: of the Ethernet header that is put in its place.
  packet::LinkType link_type = packet::LinkType::host;
};

/// Nothing when the bytes end within the link's header, or it announces neither IP nor an
/// ethertype.
std::optional<CaptureLink> read_link(int dlt, Bytes captured);

}  // namespace weir::io
