#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::daemon {

inline constexpr std::array<std::string_view, 3> kDrivers = {"auto", "af_packet", "af_xdp"};
inline constexpr std::array<std::string_view, 3> kTransmits = {"auto", "sendto", "live"};
inline constexpr std::array<std::string_view, 6> kLogLevels = {"trace", "debug", "info",
                                                               "warn",  "err",   "off"};
inline constexpr std::uint16_t kMaxWorkers = 64;

/// One network port: a name for people, and the device behind it.
struct PortSettings {
  std::string name;             // "lan"
  std::string device;           // "eth1"
  std::string driver = "auto";  // One of kDrivers.
  std::string tx = "auto";      // One of kTransmits.
  std::string where;            // That said so: "weir.toml:12", "--port".
};

/// What happens to packets of the ports while no engine runs.
enum class FailPolicy : std::uint8_t { closed, open };

/// A netfilter knob to set at the start: "nf_conntrack_tcp_loose" and its value.
struct SysctlSetting {
  std::string name;
  std::uint64_t value = 0;

  bool operator==(const SysctlSetting&) const = default;
};

/// What `weir run` is told, by its command line or a configuration file. A new field gets its key
/// in settings_keys.cc and its row in docs/CONFIGURATION.md; a test compares the two.
struct Settings {
  std::vector<PortSettings> ports;
  std::string rules;  // A file for nft; empty: those of the last run, else they come by the socket.
  std::string socket = "/run/weir/weir.sock";
  std::string state = "/run/weir";  // The folder of what survives a restart.
  std::string user;  // Whom the engine runs as; empty: weir where that user exists, else nobody.
  FailPolicy fail_policy = FailPolicy::closed;
  std::uint16_t workers = 1;

  std::uint32_t conntrack_max = 262144;
  std::uint32_t limit_per_source = 0;  // Connections at a time; zero: any number.
  std::uint32_t limit_per_zone = 0;
  std::uint8_t limit_ip_prefix = 32;  // How long the prefix is that makes a source.
  std::uint8_t limit_ip6_prefix = 64;
  std::vector<SysctlSetting> sysctls;

  std::uint32_t small_buffers = 16384;  // Packets of up to 2 KB that a worker can hold,
  std::uint32_t large_buffers = 512;    // and longer ones.

  std::vector<std::string> readers;   // "user:NAME" or "group:NAME": who may read over the socket,
  std::vector<std::string> changers;  // and who may change.
  std::string socket_owner;           // Of the socket's file: a user; empty: the engine's,
  std::string socket_group;           // a group; empty: the engine's,
  std::string socket_mode = "0666";   // and who may connect at all.

  std::string log_level = "info";  // One of kLogLevels.

  std::string metrics_listen;  // ADDRESS:PORT for Prometheus to scrape; empty: nowhere.
};

/// Reads a TOML file into `settings`; what it doesn't say stays as it is. Errors: what opening the
/// file says; EINVAL with all problems of the file, a line for each that begins with FILE:LINE:
/// syntax errors, unknown keys with what was probably meant, values of a wrong type or out of range
/// with what is expected. Nothing is read then.
Result<void> read_config(const std::string& path, Settings& settings);
/// The same of a file's text; `name` is what problems call it.
Result<void> parse_config(std::string_view text, const std::string& name, Settings& settings);

/// "lan=eth1". Errors: EINVAL saying what is expected.
Result<PortSettings> parse_port(const std::string& text);

/// "127.0.0.1:9638", "[::1]:9638", as the address and the port. Errors: EINVAL.
struct ListenAddress {
  std::string address;
  std::uint16_t port = 0;
};
Result<ListenAddress> parse_listen(const std::string& text);

/// Whether the whole makes sense: no name or device twice, nothing too long for what it names.
/// Errors: EINVAL with all problems, a line for each.
Result<void> check(const Settings& settings);

}  // namespace weir::daemon
