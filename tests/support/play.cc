#include "tests/support/play.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/support/table_line.h"

namespace weir::test {

std::array<std::uint8_t, 6> gateway_mac(std::size_t port) {
  return {2, 0, 0, 0, 0, static_cast<std::uint8_t>(port + 1)};
}

std::array<std::uint8_t, 6> peer_mac(std::size_t port) {
  return {2, 0, 0, 0, 1, static_cast<std::uint8_t>(port + 1)};
}

namespace {

constexpr std::size_t kEthernetHeader = 14;

std::string squeeze(std::string_view text) {
  std::string result;
  for (const std::string& word : split_words(text)) {
    if (!result.empty()) result += ' ';
    result += word;
  }
  return result;
}

/// Whether `text` contains `words`, where "*" stands for one word.
bool has_words(const std::string& text, const std::string& words) {
  const std::vector<std::string> all = split_words(text);
  const std::vector<std::string> wanted = split_words(words);
  const auto is_equal = [](const std::string& word, const std::string& pattern) {
    return pattern == "*" || word == pattern;
  };
  return std::search(all.begin(), all.end(), wanted.begin(), wanted.end(), is_equal) != all.end();
}

class Player {
 public:
  Player(const Scenario& scenario, Side side, Driver& driver)
      : scenario_(scenario), side_(side), driver_(driver) {}

  Outcome play() {
    const Result<void> ready = driver_.set_up(scenario_.network, scenario_.rules);
    if (!ready) return {fmt::format("set-up: {}", ready.error().text)};
    for (const Statement& statement : scenario_.script) {
      line_ = statement.line;
      std::visit([this](const auto& what) { run(what); }, statement.what);
      if (!failure_.empty()) return {fmt::format("line {}: {}", line_, failure_)};
    }
    return {};
  }

 private:
  bool is_ours(Side side) const { return side == Side::both || side == side_; }

  void fail(std::string text) {
    if (failure_.empty()) failure_ = std::move(text);
  }

  void check(const Result<void>& result) {
    if (!result) fail(result.error().text);
  }

  void run(const Step& step) {
    sent_in_step_.clear();
    for (const Sent& sent : step.sent) {
      line_ = sent.line;
      send(sent);
      if (!failure_.empty()) return;
    }
    std::vector<const Expected*> expected;
    for (const Expected& e : step.expected) {
      if (is_ours(e.side)) expected.push_back(&e);
    }
    std::vector<PortFrame> arrived = driver_.collect(expected.size());
    const std::vector<PortFrame> all = arrived;
    for (const Expected* const e : expected) {
      line_ = e->line;
      compare(*e, arrived);
      if (!failure_.empty()) {
        report(all);
        return;
      }
    }
    std::erase_if(arrived, [](const PortFrame& frame) { return is_noise(frame.bytes); });
    if (!arrived.empty()) {
      fail("more came out than was expected");
      report(arrived);
    }
  }

  void report(const std::vector<PortFrame>& frames) {
    if (frames.empty()) failure_ += "\n    nothing came out";
    for (const PortFrame& frame : frames) {
      failure_ += fmt::format("\n    out: {} {}", frame.port, describe(decode(l3(frame))));
    }
  }

  static Bytes l3(const PortFrame& frame) {
    return Bytes(frame.bytes).subspan(std::min(kEthernetHeader, frame.bytes.size()));
  }

  std::size_t port_number(const std::string& name) const {
    const auto& ports = scenario_.network.ports;
    return std::ranges::find(ports, name, &PortSetup::name) - ports.begin();
  }

  /// What `same` refers to, or null after a failure.
  const Packet* referred(const Packet& packet) {
    const std::size_t index = packet.same_index;
    if (index == 0 && !last_sent_.layers.empty()) return &last_sent_;
    if (index != 0 && index <= sent_in_step_.size()) return &sent_in_step_[index - 1];
    fail(fmt::format("'same {}' refers to no packet of this step", index));
    return nullptr;
  }

  /// Turns `same` into the packet that it stands for; `hops` of it have been forwarded.
  std::optional<Packet> resolve(const Packet& packet, unsigned hops) {
    Packet resolved = packet;
    if (packet.base == Base::same) {
      const Packet* const original = referred(packet);
      if (original == nullptr) return std::nullopt;
      Packet forwarded = *original;
      if (hops != 0) age(forwarded, hops);
      const Result<Packet> changed = apply_changes(forwarded, packet);
      if (!changed) {
        fail(changed.error().text);
        return std::nullopt;
      }
      resolved = *changed;
    }
    for (Packet& quote : resolved.quote) {
      if (quote.base != Base::same) continue;
      const auto inner = resolve(quote, 0);
      if (!inner) return std::nullopt;
      quote = *inner;
    }
    return resolved;
  }

  static void age(Packet& packet, unsigned hops) {
    Layer& ip = packet.layers[0];
    const std::string_view name = ip.kind == "ip" ? "ttl" : "hlim";
    const std::string* const now = ip.find(name);
    const unsigned value = now == nullptr ? 64 : static_cast<unsigned>(std::stoul(*now));
    ip.set(name, std::to_string(value - hops));
    packet.link = "host";
    packet.pad_bytes = 0;
  }

  void send(const Sent& sent) {
    std::optional<Packet> packet = resolve(sent.packet, 0);
    if (!packet) return;
    Result<ByteString> datagram = encode_quoting(*packet);
    if (!datagram) {
      fail(datagram.error().text);
      return;
    }
    const std::size_t port = port_number(sent.port);
    ByteString frame(kEthernetHeader);
    auto to = gateway_mac(port);
    if (packet->link == "bcast") to.fill(0xff);
    if (packet->link == "mcast") to = {0x01, 0x00, 0x5e, 0, 0, 1};
    if (packet->link == "other") to = {2, 0, 0, 0, 9, 9};
    std::ranges::copy(to, frame.begin());
    std::ranges::copy(peer_mac(port), frame.begin() + 6);
    const bool is_ip6 = packet->layers[0].kind == "ip6";
    frame[12] = is_ip6 ? 0x86 : 0x08;
    frame[13] = is_ip6 ? 0xdd : 0x00;
    frame.insert(frame.end(), datagram->begin(), datagram->end());
    check(driver_.send(sent.port, frame));
    last_sent_ = *packet;
    sent_in_step_.push_back(*packet);
  }

  /// As encode(), where `[ received ]` is the packet that last came out, byte by byte.
  Result<ByteString> encode_quoting(const Packet& packet) {
    Packet whole = packet;
    if (!whole.quote.empty() && whole.quote[0].base == Base::received) {
      if (last_received_.empty()) {
        return std::unexpected(Error{EINVAL, "nothing has come out yet to be quoted"});
      }
      const std::size_t cut = std::min(whole.quote[0].cut_bytes, last_received_.size());
      std::string hex;
      for (const std::uint8_t byte : Bytes(last_received_).first(last_received_.size() - cut)) {
        hex += fmt::format("{:02x}", byte);
      }
      whole.quote.clear();
      whole.layers.push_back({.kind = "data", .fields = {{"hex", hex}}});
    }
    return encode(whole, variables_);
  }

  void compare(const Expected& expected, std::vector<PortFrame>& arrived) {
    const auto is_candidate = [&](const PortFrame& frame) {
      return frame.port == expected.port && (!is_noise(frame.bytes) || expects_noise(expected));
    };
    const auto frame = std::ranges::find_if(arrived, is_candidate);
    if (frame == arrived.end()) {
      fail(fmt::format("nothing more came out of {}", expected.port));
      return;
    }
    const std::optional<Packet> packet = resolve(expected.packet, 1);
    if (!packet) return;
    if (const auto text = compare_frame(expected.packet, *packet, *frame)) {
      fail(fmt::format("{}: {}", expected.port, *text));
      return;
    }
    last_received_.assign(l3(*frame).begin(), l3(*frame).end());
    arrived.erase(frame);
  }

  /// Whether neighbour discovery or listener messages themselves are what is expected.
  static bool expects_noise(const Expected& expected) {
    const Layer* const icmp6 = expected.packet.layer("icmp6");
    if (icmp6 == nullptr) return false;
    const std::string& type = *icmp6->find("type");
    return type == "143" || (type >= "130" && type <= "137");
  }

  std::optional<std::string> compare_frame(const Packet& written, const Packet& resolved,
                                           const PortFrame& frame) {
    const std::size_t port = port_number(frame.port);
    if (written.link == "host" &&
        !std::ranges::equal(peer_mac(port), Bytes(frame.bytes).first(6))) {
      return "isn't addressed to the peer's Ethernet address";
    }
    if (written.base == Base::same) return match_exactly(resolved, l3(frame), false, variables_);
    if (written.piece) return match_exactly(resolved, l3(frame), false, variables_);
    const bool quotes_same = !written.quote.empty() && written.quote[0].base == Base::same;
    Packet outer = resolved;
    if (quotes_same) outer.quote.clear();
    const Packet actual = decode(l3(frame));
    if (auto text = match(outer, actual, variables_)) return text;
    if (!quotes_same) return std::nullopt;
    return compare_quote(resolved.quote[0], actual, frame);
  }

  std::optional<std::string> compare_quote(const Packet& expected, const Packet& actual,
                                           const PortFrame& frame) {
    if (actual.quote.empty()) return "quotes nothing";
    const Bytes outer = l3(frame);
    const std::size_t header = outer[0] >> 4 == 4 ? (outer[0] & 15) * 4 : 40;
    if (auto text = match_exactly(expected, outer.subspan(header + 8), true, variables_)) {
      return "quote: " + *text;
    }
    return std::nullopt;
  }

  void run(const Wait& wait) { check(driver_.wait(wait.time)); }

  void run(const TableIs& table) {
    const auto lines = driver_.table();
    if (!lines) {
      fail(lines.error().text);
      return;
    }
    std::vector<std::string> unmatched = *lines;
    for (const TableIs::Entry& entry : table.entries) {
      if (!is_ours(entry.side)) continue;
      line_ = entry.line;
      const auto at = std::ranges::find_if(unmatched, [&](const std::string& line) {
        return match_table_line(entry.words, line, variables_);
      });
      if (at == unmatched.end()) {
        fail("no entry of the table is as expected");
        break;
      }
      unmatched.erase(at);
    }
    if (failure_.empty() && !unmatched.empty()) fail("the table has more entries than expected");
    if (failure_.empty()) return;
    for (const std::string& line : *lines) failure_ += "\n    entry: " + squeeze(line);
    if (lines->empty()) failure_ += "\n    the table is empty";
  }

  void run(const RulesetHas& has) {
    if (!is_ours(has.side)) return;
    const auto text = driver_.nft("list ruleset");
    if (!text) {
      fail(text.error().text);
    } else if (has_words(*text, has.words) != has.is_wanted) {
      fail(fmt::format("the ruleset {} '{}':\n{}", has.is_wanted ? "lacks" : "has", has.words,
                       *text));
    }
  }

  void run(const NftCommand& command) {
    const auto text = driver_.nft(command.words);
    if (!text) fail(text.error().text);
  }

  void run(const IpCommand& command) { check(driver_.ip(command.words)); }

  const Scenario& scenario_;
  Side side_;
  Driver& driver_;
  Variables variables_;
  std::vector<Packet> sent_in_step_;
  Packet last_sent_;
  ByteString last_received_;
  int line_ = 0;
  std::string failure_;
};

}  // namespace

Outcome play(const Scenario& scenario, Side side, Driver& driver) {
  return Player(scenario, side, driver).play();
}

}  // namespace weir::test
