#include "io/pcap_link.h"

#include <pcap/dlt.h>

#include "wire/ethernet.h"

namespace weir::io {
namespace {

constexpr std::size_t kSllBytes = 16;
constexpr std::size_t kSll2Bytes = 20;
constexpr std::size_t kLoopbackBytes = 4;

/// The cooked headers' packet type. Other hosts' and outgoing packets count as ours.
packet::LinkType cooked_type(std::uint16_t type) {
  switch (type) {
    case 1:
      return packet::LinkType::broadcast;
    case 2:
      return packet::LinkType::multicast;
    default:
      return packet::LinkType::host;
  }
}

/// The BSD loopback header's address family, which every system numbers its own way.
std::optional<Be16> loopback_ethertype(std::uint32_t family) {
  switch (family) {
    case 2:
      return wire::ethertype::kIpv4;
    case 10:
    case 24:
    case 28:
    case 30:
      return wire::ethertype::kIpv6;
    default:
      return std::nullopt;
  }
}

std::optional<CaptureLink> read_loopback(Bytes captured) {
  if (captured.size() < kLoopbackBytes) return std::nullopt;
  // In the byte order of the capturing machine (DLT_NULL) or the network's (DLT_LOOP): small
  // numbers both.
  const std::uint32_t number = load<Be32>(captured.data()).host();
  auto type = loopback_ethertype(number);
  if (!type) type = loopback_ethertype(__builtin_bswap32(number));
  if (!type) return std::nullopt;
  return CaptureLink{.header_bytes = kLoopbackBytes, .ethertype = *type};
}

std::optional<CaptureLink> read_raw(Bytes captured) {
  if (captured.empty()) return std::nullopt;
  switch (captured[0] >> 4) {
    case 4:
      return CaptureLink{.ethertype = wire::ethertype::kIpv4};
    case 6:
      return CaptureLink{.ethertype = wire::ethertype::kIpv6};
    default:
      return std::nullopt;
  }
}

}  // namespace

bool is_known_link(int dlt) {
  switch (dlt) {
    case DLT_EN10MB:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
    case DLT_NULL:
    case DLT_LOOP:
      return true;
    default:
      return false;
  }
}

std::optional<CaptureLink> read_link(int dlt, Bytes captured) {
  switch (dlt) {
    case DLT_EN10MB:
      return CaptureLink{.is_ethernet = true};
    case DLT_LINUX_SLL: {
      if (captured.size() < kSllBytes) return std::nullopt;
      return CaptureLink{.header_bytes = kSllBytes,
                         .ethertype = load<Be16>(&captured[14]),
                         .link_type = cooked_type(load<Be16>(captured.data()).host())};
    }
    case DLT_LINUX_SLL2: {
      if (captured.size() < kSll2Bytes) return std::nullopt;
      return CaptureLink{.header_bytes = kSll2Bytes,
                         .ethertype = load<Be16>(captured.data()),
                         .link_type = cooked_type(captured[10])};
    }
    case DLT_NULL:
    case DLT_LOOP:
      return read_loopback(captured);
    default:
      return read_raw(captured);
  }
}

}  // namespace weir::io
