#include "io/choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "io/af_xdp.h"
#include "io/live_frames.h"

namespace weir::io {
namespace {

constexpr std::uint64_t kBasic = 1;  // NETDEV_XDP_ACT_BASIC and so on.
constexpr std::uint64_t kRedirect = 2;
constexpr std::uint64_t kTransmit = 4;
constexpr std::uint64_t kZeroCopy = 8;
constexpr std::uint32_t kEthernetBytes = 14;

/// Drivers that have native XDP with redirection in Linux 6.1, the last kernel that doesn't say.
constexpr std::array<std::string_view, 16> kNativeDrivers = {
    "atlantic", "bnxt_en",   "ena",    "fsl_dpaa2_eth", "i40e", "ice",    "igb",  "igc",
    "ixgbe",    "mlx5_core", "mvneta", "nfp",           "sfc",  "stmmac", "veth", "virtio_net"};

std::unexpected<Error> impossible(std::string text) {
  return std::unexpected(Error{EINVAL, std::move(text)});
}

std::string why_veth_is_not_whole(const std::optional<Offloads>& peer) {
  if (!peer) {
    return "a veth whose peer can't be looked at: it may hand over unfinished checksums and long "
           "segments";
  }
  if (peer->tx_checksum || peer->tx_segmentation) {
    return fmt::format("its peer hands over {}{}{} (ethtool -K PEER tx off tso off)",
                       peer->tx_checksum ? "unfinished checksums" : "",
                       peer->tx_checksum && peer->tx_segmentation ? " and " : "",
                       peer->tx_segmentation ? "long segments" : "");
  }
  if (peer->tx_vlan)
    return "its peer hands over VLAN tags beside the frame (ethtool -K PEER txvlan off)";
  return "";
}

/// Empty when every frame comes as it would lie on a wire.
std::string why_not_whole(const DeviceFacts& facts) {
  if (facts.kind == "veth") return why_veth_is_not_whole(facts.peer);
  if (!facts.kind.empty())
    return fmt::format("a virtual device ({}) may hand over unfinished checksums and long segments",
                       facts.kind);
  if (facts.own.rx_merging)
    return fmt::format("it merges what it receives (ethtool -K {} lro off rx-gro-hw off)",
                       facts.device);
  if (facts.own.rx_vlan)
    return fmt::format("it takes VLAN tags out of frames (ethtool -K {} rxvlan off)", facts.device);
  return "";
}

bool has_native_xdp(const DeviceFacts& facts) {
  if (facts.xdp_features)
    return (*facts.xdp_features & (kBasic | kRedirect)) == (kBasic | kRedirect);
  return std::find(kNativeDrivers.begin(), kNativeDrivers.end(), facts.driver) !=
         kNativeDrivers.end();
}

void choose_driver(const DeviceFacts& facts, const Wish& wish, Choice& choice) {
  const std::string not_whole = why_not_whole(facts);
  if (wish.driver == "af_packet") {
    choice.why = "as set";
  } else if (wish.driver == "af_xdp") {
    choice.driver = Driver::af_xdp;
    choice.why = not_whole.empty() ? "as set" : "as set, but " + not_whole;
  } else if (facts.mtu > kMaxXdpMtu) {
    choice.why = fmt::format("its MTU of {} is beyond AF_XDP's {}", facts.mtu, kMaxXdpMtu);
  } else if (!not_whole.empty()) {
    choice.why = not_whole;
  } else if (!has_native_xdp(facts)) {
    choice.why = fmt::format("its driver ({}) has no native XDP", facts.driver);
  } else {
    choice.driver = Driver::af_xdp;
    choice.why =
        fmt::format("its frames are whole and its driver ({}) has native XDP", facts.driver);
  }
}

void choose_transmit(const DeviceFacts& facts, const Wish& wish, Choice& choice) {
  const std::uint64_t features = facts.xdp_features.value_or(0);
  if (choice.driver == Driver::af_packet) {
    choice.transmit_why = "AF_PACKET's own";
  } else if (wish.tx != "auto") {
    choice.transmit = wish.tx == "live" ? Transmit::live : Transmit::sendto;
    choice.transmit_why = "as set";
  } else if ((features & kZeroCopy) != 0) {
    choice.transmit_why = "its driver sends without a copy";
  } else if ((features & kTransmit) == 0) {
    choice.transmit_why = facts.kind == "veth"
                              ? "live frames need GRO on its peer (ethtool -K PEER gro on)"
                              : "its driver is not known to take redirected frames";
  } else if (facts.mtu + kEthernetBytes > LiveFrames::kMaxFrameBytes) {
    choice.transmit_why = "its MTU is too large for live frames";
  } else {
    choice.transmit = Transmit::live;
    choice.transmit_why = "its driver takes redirected frames, and copies those of AF_XDP";
  }
}

}  // namespace

Result<Choice> choose(const DeviceFacts& facts, const Wish& wish) {
  if (wish.driver == "af_xdp" && facts.mtu > kMaxXdpMtu) {
    return impossible(fmt::format("{}: an MTU of {} is too large for AF_XDP, at most {}",
                                  facts.device, facts.mtu, kMaxXdpMtu));
  }
  if (wish.tx == "live" && wish.driver == "af_packet")
    return impossible(facts.device + ": live frames need the driver af_xdp");
  if (wish.tx == "live" && facts.mtu + kEthernetBytes > LiveFrames::kMaxFrameBytes) {
    return impossible(fmt::format("{}: an MTU of {} is too large for live frames, at most {}",
                                  facts.device, facts.mtu,
                                  LiveFrames::kMaxFrameBytes - kEthernetBytes));
  }
  Choice choice;
  choose_driver(facts, wish, choice);
  choose_transmit(facts, wish, choice);
  return choice;
}

std::string_view name_of(Driver driver) {
  return driver == Driver::af_xdp ? "af_xdp" : "af_packet";
}

std::string_view name_of(Transmit transmit) {
  return transmit == Transmit::live ? "live" : "sendto";
}

}  // namespace weir::io
