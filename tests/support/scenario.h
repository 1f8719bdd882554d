#pragma once

#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "tests/support/packet_text.h"

namespace weir::test {

/// One port of the gateway under test. Its peer, on the other end of the wire, answers for every
/// address of the port's networks.
struct PortSetup {
  std::string name;
  std::vector<std::string> addresses;  // "10.0.0.1/24", "2001:db8::1/64".
  unsigned mtu_bytes = 1500;
};

/// The gateway's network. Routes, rules and next hops are in iproute2's words.
struct Network {
  std::vector<PortSetup> ports;
  std::vector<std::string> routes;    // "default via 203.0.113.254", "unreachable 198.18.0.0/15".
  std::vector<std::string> nexthops;  // "id 1 via 203.0.113.254 dev wan".
  std::vector<std::string> rules;     // "fwmark 1 table 100".
  std::vector<std::pair<std::string, std::string>> sysctls;  // "net.ipv4.conf.wan.rp_filter", "1".
  /// Addresses on the ports' networks that the scenario names: each is a neighbour that has been
  /// resolved to its port's peer. {port, address}.
  std::vector<std::pair<std::string, std::string>> neighbours;
};

/// Whom an expectation is for: both engines, unless docs/DIFFERENCES.md lists a difference.
enum class Side { both, kernel, weir };

struct Sent {
  std::string port;
  Packet packet;
  int line = 0;
};

struct Expected {
  std::string port;
  Packet packet;
  Side side = Side::both;
  int line = 0;
};

/// Packets in, and everything that must come out before the next statement.
struct Step {
  std::vector<Sent> sent;
  std::vector<Expected> expected;
};

struct Wait {
  Duration time{};
};

/// The whole conntrack table, one line an entry, in the words of `conntrack -L`.
struct TableIs {
  struct Entry {
    std::string words;
    Side side = Side::both;
    int line = 0;
  };
  std::vector<Entry> entries;
};

/// Words that `nft list ruleset` must, or must not, contain.
struct RulesetHas {
  std::string words;
  bool is_wanted = true;
  Side side = Side::both;
};

/// A change of the rules in mid-scenario, in nft's words.
struct NftCommand {
  std::string words;
};

/// A change of the network in mid-scenario, in iproute2's words: "address del 203.0.113.1/24 dev
/// wan".
struct IpCommand {
  std::string words;
};

struct Statement {
  int line = 0;
  std::variant<Step, Wait, TableIs, RulesetHas, NftCommand, IpCommand> what;
};

struct Scenario {
  std::string name;     // "tcp/handshake".
  std::string title;    // The comment's first line.
  std::string differs;  // Anchor in docs/DIFFERENCES.md, or empty.
  Network network;
  std::string rules;  // nft text.
  std::vector<Statement> script;
};

/// Reads the file; `name` is its path below the scenarios' folder without the suffix. An Error's
/// text begins with the line number.
Result<Scenario> read_scenario(const std::string& path, const std::string& name);

}  // namespace weir::test
