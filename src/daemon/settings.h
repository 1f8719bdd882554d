#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir::daemon {

struct PortSettings {
  std::string name;             // "lan"
  std::string device;           // "eth1"
  std::string driver = "auto";  // auto, af_packet
};

/// What `weir run` is told, by its command line or a configuration file.
struct Settings {
  std::vector<PortSettings> ports;
  std::string rules;  // A file for nft; empty: rules come over the socket.
  std::string socket = "/run/weir/weir.sock";
  std::uint16_t workers = 1;
  std::uint32_t conntrack_max = 262144;
  std::string log_level = "info";
  std::vector<std::string> readers;   // "user:NAME" or "group:NAME": who may read over the socket,
  std::vector<std::string> changers;  // and who may change.
};

/// Reads a TOML file into `settings`; what it doesn't say stays as it is. Errors: ENOENT; EINVAL
/// for a syntax error, an unknown key or a value of the wrong type, with line and what is known.
Result<void> read_config(const std::string& path, Settings& settings);

/// "lan=eth1". Errors: EINVAL saying what is expected.
Result<PortSettings> parse_port(const std::string& text);

/// Whether the whole makes sense: at least one port, no name or device twice, known drivers.
Result<void> check(const Settings& settings);

}  // namespace weir::daemon
