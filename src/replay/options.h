#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wire/address.h"

namespace weir::replay {

/// What the command line says.
struct Options {
  std::string capture;               // "-" is standard input.
  std::string rules;                 // For nft -f.
  std::string write_path;            // Empty: what leaves the ports is only counted.
  std::vector<wire::Prefix> inside;  // Empty: see Sides.
  std::string inside_device = "lan0";
  std::string outside_device = "wan0";
  // The gateway's own addresses; a family without one gets the default (network.h).
  std::vector<wire::FamilyAddress> inside_addresses;
  std::vector<wire::FamilyAddress> outside_addresses;
  std::uint32_t mtu_bytes = 1500;
  std::uint32_t conntrack_max = 65536;
  bool strict_checksums = false;
  bool as_json = false;
  bool explain = false;
};

}  // namespace weir::replay
