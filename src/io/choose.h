#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::io {

enum class Driver : std::uint8_t { af_packet, af_xdp };
enum class Transmit : std::uint8_t { sendto, live };

/// What a port's settings say: names, or "auto".
struct Wish {
  std::string_view driver = "auto";  // auto, af_packet, af_xdp
  std::string_view tx = "auto";      // auto, sendto, live
};

/// Offloads of a device that decide whether its frames, or its peer's, are whole.
struct Offloads {
  bool tx_checksum = false;      // Hands checksums over unfinished.
  bool tx_segmentation = false;  // Hands over segments of up to 64 KB (TSO, GSO of UDP).
  bool tx_vlan = false;          // Hands VLAN tags over beside the frame.
  bool rx_merging = false;       // LRO or GRO in hardware.
  bool rx_vlan = false;          // Takes VLAN tags out of frames.
  bool gro = false;
};

/// What is known of a network device before it is opened.
struct DeviceFacts {
  std::string device;
  std::uint32_t ifindex = 0;
  std::uint32_t mtu = 0;
  std::uint32_t rx_queues = 1;
  std::string kind;    // rtnetlink's: "veth", "bridge"; empty for hardware.
  std::string driver;  // ethtool's: "virtio_net", "ixgbe".
  Offloads own;
  std::optional<Offloads> peer;  // Of a veth; absent when the peer can't be looked at.
  /// NETDEV_XDP_ACT_* of the kernel; absent before Linux 6.3.
  std::optional<std::uint64_t> xdp_features;
};

/// How a port is run, and why; the reasons are for people.
struct Choice {
  Driver driver = Driver::af_packet;
  Transmit transmit = Transmit::sendto;
  std::string why;
  std::string transmit_why;
};

/// Asks ethtool, rtnetlink and the kernel's netdev family; the peer of a veth is looked for in
/// other network namespaces when the caller may enter them. Changes nothing. Errors: ENODEV.
Result<DeviceFacts> read_device_facts(const std::string& device);

/// Errors: EINVAL when what is wished can't be had, saying why.
Result<Choice> choose(const DeviceFacts& facts, const Wish& wish);

std::string_view name_of(Driver driver);
std::string_view name_of(Transmit transmit);

}  // namespace weir::io
