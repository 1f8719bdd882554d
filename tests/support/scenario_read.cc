#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/scenario.h"
#include "wire/address.h"

namespace weir::test {

namespace {

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1));
}

/// Takes the first word off `text`.
std::string take_word(std::string& text) {
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  std::string word = text.substr(0, end);
  text = trimmed(std::string_view(text).substr(end));
  return word;
}

class Reader {
 public:
  Reader(std::filesystem::path path, Scenario& scenario)
      : path_(std::move(path)), scenario_(scenario) {}

  Result<void> read() {
    std::ifstream file(path_);
    if (!file) return std::unexpected(Error{ENOENT, "0: can't be opened"});
    for (std::string text; std::getline(file, text);) {
      ++line_;
      read_line(text);
      if (!error_.empty())
        return std::unexpected(Error{EINVAL, fmt::format("{}: {}", line_, error_)});
    }
    if (scenario_.network.ports.empty()) {
      return std::unexpected(Error{EINVAL, fmt::format("{}: no port is described", line_)});
    }
    find_neighbours();
    return {};
  }

 private:
  void fail(std::string text) {
    if (error_.empty()) error_ = std::move(text);
  }

  void read_line(const std::string& text) {
    if (block_ == Block::rules && (text.empty() || text.starts_with(' '))) {
      scenario_.rules += text + "\n";
      note_addresses(text);
      return;
    }
    std::string rest = trimmed(text);
    if (rest.starts_with('#')) {
      if (scenario_.title.empty()) scenario_.title = trimmed(rest.substr(1));
      return;
    }
    if (rest.empty()) return;
    rest = substitute(rest);
    note_addresses(rest);
    if (block_ == Block::table && text.starts_with(' ')) {
      const Side side = take_side(rest);
      TableIs::Entry entry{.words = rest, .side = side, .line = line_};
      std::get<TableIs>(scenario_.script.back().what).entries.push_back(std::move(entry));
      return;
    }
    block_ = Block::none;
    const Side side = take_side(rest);
    const std::string keyword = take_word(rest);
    if (!read_network(keyword, rest) && !read_script(keyword, rest, side)) {
      fail(fmt::format("'{}' is not a keyword", keyword));
    }
  }

  static Side take_side(std::string& text) {
    if (text.starts_with("kernel: ")) {
      text = trimmed(text.substr(8));
      return Side::kernel;
    }
    if (text.starts_with("weir: ")) {
      text = trimmed(text.substr(6));
      return Side::weir;
    }
    return Side::both;
  }

  /// Replaces the words that `define` has given a meaning.
  std::string substitute(const std::string& text) const {
    std::string result;
    std::size_t at = 0;
    while (at < text.size()) {
      const std::size_t end = std::min(text.find_first_of(" \t", at), text.size());
      const std::string word = text.substr(at, end - at);
      const auto define = defines_.find(word);
      result += define == defines_.end() ? word : define->second;
      at = std::min(text.find_first_not_of(" \t", end), text.size());
      result += text.substr(end, at - end);
    }
    return result;
  }

  bool read_network(const std::string& keyword, std::string& rest) {
    Network& network = scenario_.network;
    if (keyword == "port") {
      read_port(rest);
    } else if (keyword == "route") {
      network.routes.push_back(rest);
    } else if (keyword == "nexthop") {
      network.nexthops.push_back(rest);
    } else if (keyword == "rule") {
      network.rules.push_back(rest);
    } else if (keyword == "sysctl") {
      const std::string name = take_word(rest);
      network.sysctls.emplace_back(name, rest);
    } else if (keyword == "differs") {
      scenario_.differs = rest;
    } else if (keyword == "define") {
      const std::string name = take_word(rest);
      defines_[name] = rest;
    } else if (keyword == "rules") {
      read_rules(rest);
    } else {
      return false;
    }
    return true;
  }

  void read_port(std::string& rest) {
    PortSetup port{.name = take_word(rest), .addresses = {}};
    while (!rest.empty()) {
      const std::string word = take_word(rest);
      if (word == "mtu") {
        const std::string value = take_word(rest);
        std::from_chars(value.data(), value.data() + value.size(), port.mtu_bytes);
      } else if (wire::parse_prefix(word)) {
        port.addresses.push_back(word);
      } else {
        fail(fmt::format("'{}' is not an address with its prefix length", word));
      }
    }
    scenario_.network.ports.push_back(std::move(port));
  }

  /// "rules" alone begins a block; "rules FILE" reads one beside the scenario.
  void read_rules(const std::string& file_name) {
    if (file_name.empty()) {
      block_ = Block::rules;
      return;
    }
    std::ifstream file(path_.parent_path() / file_name);
    if (!file) fail(fmt::format("{} can't be opened", file_name));
    std::stringstream text;
    text << file.rdbuf();
    scenario_.rules += text.str();
    note_addresses(text.str());
  }

  bool read_script(const std::string& keyword, std::string& rest, Side side) {
    if (keyword == ">" || keyword == "<") {
      read_packet(keyword == ">", rest, side);
    } else if (keyword == "wait") {
      add(Wait{read_time(rest)});
    } else if (keyword == "table") {
      add(TableIs{});
      block_ = Block::table;
      if (!rest.empty() && rest != "empty") fail("'table' stands alone or before 'empty'");
    } else if (keyword == "ruleset") {
      const std::string verb = take_word(rest);
      if (verb != "has" && verb != "lacks") fail("'ruleset' needs 'has' or 'lacks'");
      add(RulesetHas{.words = rest, .is_wanted = verb == "has", .side = side});
    } else if (keyword == "nft") {
      add(NftCommand{rest});
    } else if (keyword == "ip") {
      add(IpCommand{rest});
    } else {
      return false;
    }
    return true;
  }

  template <typename What>
  void add(What what) {
    scenario_.script.push_back({.line = line_, .what = std::move(what)});
  }

  Step* current_step() {
    if (scenario_.script.empty()) return nullptr;
    return std::get_if<Step>(&scenario_.script.back().what);
  }

  void read_packet(bool is_sent, std::string& rest, Side side) {
    Step* step = current_step();
    if (is_sent && (step == nullptr || step_is_answered_)) {
      add(Step{});
      step = current_step();
      step_is_answered_ = false;
    }
    if (!is_sent && step == nullptr) {
      add(Step{});  // After a wait: what timers send.
      step = current_step();
    }
    if (!is_sent) step_is_answered_ = true;
    if (!is_sent && rest == "nothing") return;
    const std::string port = take_word(rest);
    if (std::ranges::find(scenario_.network.ports, port, &PortSetup::name) ==
        scenario_.network.ports.end()) {
      fail(fmt::format("there is no port '{}'", port));
      return;
    }
    Result<Packet> packet = parse_packet(rest);
    if (!packet) {
      fail(packet.error().text);
    } else if (is_sent) {
      step->sent.push_back({.port = port, .packet = std::move(*packet), .line = line_});
    } else {
      step->expected.push_back(
          {.port = port, .packet = std::move(*packet), .side = side, .line = line_});
    }
  }

  Duration read_time(const std::string& text) {
    double number = 0;
    const char* const end = text.data() + text.size();
    const auto [unit, code] = std::from_chars(text.data(), end, number);
    const std::string_view name(unit, static_cast<std::size_t>(end - unit));
    const double scale = name == "ms" ? 1e6 : name == "s" ? 1e9 : name == "h" ? 3600e9 : 0;
    if (code != std::errc{} || scale == 0) fail(fmt::format("'{}' is no time (ms, s, h)", text));
    return Duration(static_cast<Duration::rep>(number * scale));
  }

  void note_addresses(std::string_view text) {
    std::size_t at = 0;
    constexpr std::string_view kPartOfAddress = "0123456789abcdefABCDEF.:";
    while (at < text.size()) {
      at = text.find_first_of(kPartOfAddress, at);
      if (at == std::string_view::npos) return;
      const std::size_t end = std::min(text.find_first_not_of(kPartOfAddress, at), text.size());
      note_address(text.substr(at, end - at));
      at = end;
    }
  }

  /// "10.0.0.2" and, in nft's words, "10.0.0.2:80".
  void note_address(std::string_view word) {
    const std::size_t colon = word.find(':');
    if (word.find('.') != std::string_view::npos) word = word.substr(0, colon);
    if (const auto address = wire::parse_address(word)) {
      const std::string plain = wire::to_string(address->address, address->family);
      if (std::ranges::find(addresses_, plain) == addresses_.end()) addresses_.push_back(plain);
    }
  }

  void find_neighbours() {
    for (const PortSetup& port : scenario_.network.ports) {
      for (const std::string& text : port.addresses) {
        const auto prefix = wire::parse_prefix(text);
        const std::string own = text.substr(0, text.find('/'));
        for (const std::string& address : addresses_) {
          const auto parsed = wire::parse_address(address);
          const auto own_address = wire::parse_address(own);
          if (prefix->contains(parsed->family, parsed->address) && !(*parsed == *own_address) &&
              !is_edge(*prefix, *parsed)) {
            scenario_.network.neighbours.emplace_back(port.name, address);
          }
        }
      }
    }
  }

  /// The network's own address and its broadcast address are nobody's.
  static bool is_edge(const wire::Prefix& prefix, const wire::FamilyAddress& address) {
    if (prefix.family != wire::Family::ip || prefix.length >= 31) return false;
    const std::uint32_t host = address.address.v4().host() & (0xffffffffU >> prefix.length);
    return host == 0 || host == 0xffffffffU >> prefix.length;
  }

  enum class Block { none, rules, table };

  std::filesystem::path path_;
  Scenario& scenario_;
  int line_ = 0;
  Block block_ = Block::none;
  bool step_is_answered_ = false;
  std::map<std::string, std::string> defines_;
  std::vector<std::string> addresses_;
  std::string error_;
};

}  // namespace

Result<Scenario> read_scenario(const std::string& path, const std::string& name) {
  Scenario scenario;
  scenario.name = name;
  const Result<void> done = Reader(path, scenario).read();
  if (!done) return std::unexpected(done.error());
  return scenario;
}

}  // namespace weir::test
