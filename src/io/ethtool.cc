#include "io/ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

namespace weir::io {
namespace {

template <typename Request>
bool ask(int control, const std::string& device, Request* request) {
  ifreq wrapped{};
  std::strncpy(wrapped.ifr_name, device.c_str(), IFNAMSIZ - 1);
  wrapped.ifr_data = reinterpret_cast<char*>(request);
  return ioctl(control, SIOCETHTOOL, &wrapped) == 0;
}

/// ethtool's structures end in arrays; this is one with room for its array.
template <typename T>
class WithArray {
 public:
  explicit WithArray(std::size_t array_bytes) : words_((sizeof(T) + array_bytes + 7) / 8) {}
  T* operator->() { return get(); }
  T* get() { return reinterpret_cast<T*>(words_.data()); }

 private:
  std::vector<std::uint64_t> words_;
};

std::uint32_t count_features(int control, const std::string& device) {
  WithArray<ethtool_sset_info> info(sizeof(std::uint32_t));
  info->cmd = ETHTOOL_GSSET_INFO;
  info->sset_mask = 1ULL << ETH_SS_FEATURES;
  if (!ask(control, device, info.get()) || info->sset_mask == 0) return 0;
  return info->data[0];
}

Offloads read_features(int control, const std::string& device) {
  Offloads offloads;
  const std::uint32_t count = count_features(control, device);
  if (count == 0) return offloads;
  WithArray<ethtool_gstrings> names(static_cast<std::size_t>(count) * ETH_GSTRING_LEN);
  names->cmd = ETHTOOL_GSTRINGS;
  names->string_set = ETH_SS_FEATURES;
  names->len = count;
  const std::uint32_t blocks = (count + 31) / 32;
  WithArray<ethtool_gfeatures> states(blocks * sizeof(ethtool_get_features_block));
  states->cmd = ETHTOOL_GFEATURES;
  states->size = blocks;
  if (!ask(control, device, names.get()) || !ask(control, device, states.get())) return offloads;
  for (std::uint32_t i = 0; i < count; ++i) {
    const char* const name = reinterpret_cast<const char*>(names->data) + i * ETH_GSTRING_LEN;
    if ((states->features[i / 32].active >> (i % 32) & 1) != 0)
      note_feature(std::string(name, strnlen(name, ETH_GSTRING_LEN)), offloads);
  }
  return offloads;
}

std::uint32_t count_rx_queues(int control, const std::string& device) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ask(control, device, &channels))
    return std::max(1U, channels.combined_count + channels.rx_count);
  ethtool_rxnfc rings{};
  rings.cmd = ETHTOOL_GRXRINGS;
  if (ask(control, device, &rings))
    return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(rings.data));
  return 1;
}

}  // namespace

void note_feature(const std::string& name, Offloads& offloads) {
  const auto begins = [&](std::string_view with) { return name.starts_with(with); };
  if (begins("tx-checksum-") && name != "tx-checksum-fcoe-crc") offloads.tx_checksum = true;
  // The others, of tunnels and SCTP, need one of the checksums above.
  if (name == "tx-tcp-segmentation" || name == "tx-tcp6-segmentation" ||
      name == "tx-udp-segmentation")
    offloads.tx_segmentation = true;
  if (name == "tx-vlan-hw-insert") offloads.tx_vlan = true;
  if (name == "rx-lro" || name == "rx-gro-hw") offloads.rx_merging = true;
  if (name == "rx-vlan-hw-parse") offloads.rx_vlan = true;
  if (name == "rx-gro") offloads.gro = true;
}

Result<EthtoolFacts> read_ethtool(int control, const std::string& device) {
  EthtoolFacts facts;
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (ask(control, device, &driver)) {
    facts.driver.assign(driver.driver, strnlen(driver.driver, sizeof driver.driver));
  } else if (errno == ENODEV) {
    return std::unexpected(system_error("ethtool of " + device));
  }
  facts.rx_queues = count_rx_queues(control, device);
  facts.offloads = read_features(control, device);
  return facts;
}

}  // namespace weir::io
