#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/path_observer.h"
#include "replay/network.h"
#include "replay/rule_book.h"

namespace weir::replay {

/// What became of a captured packet.
enum class Verdict : std::uint8_t {
  forwarded,
  to_host,  // The gateway itself is meant.
  dropped,
  held,    // A piece of a datagram that waits for the others.
  not_ip,  // ARP and the like: the host's business.
};

/// What a chain decided: a rule of it, or its policy.
struct Decision {
  const ChainLine* chain = nullptr;
  const RuleLine* rule = nullptr;  // Null: the policy.
  rules::VerdictCode code = rules::VerdictCode::accept;
};

/// A packet that left the gateway.
struct Sent {
  Side side = Side::inside;
  bool is_own = false;    // An ICMP error or TCP reset of the gateway's own.
  std::string text = {};  // Only when told to explain.
  std::string ends = {};
};

/// What was seen of one captured packet on its way.
struct Sighted {
  Verdict verdict = Verdict::dropped;
  packet::Drop drop = packet::Drop::none;
  packet::CtRef ct;
  std::vector<Decision> decisions;
  std::vector<std::string> findings;  // What its connection's helper made of it.
  std::vector<Sent> sent;
};

/// Watches the path: counts what rules match, and remembers what happens to the packet at hand.
/// Packets of the gateway's own count for rules, but are nobody's story.
class Journal final : public pipeline::PathObserver {
 public:
  explicit Journal(bool explains) : explains_(explains) {}

  void set_book(RuleBook* book) { book_ = book; }

  /// The next captured packet begins; `unless_seen` is what became of it if nobody tells otherwise.
  void begin(Time now, Verdict unless_seen);
  /// What was seen of it since.
  const Sighted& current() const { return current_; }
  /// Reassembly has refused the piece, which it doesn't tell packet by packet.
  void refuse_piece(packet::Drop reason);

  /// A packet leaves by a port, or goes to the host.
  void on_sent(const packet::Packet& packet, Side side);
  void on_delivered(const packet::Packet& packet);

  void on_rule(const rules::Context& context, const rules::CompiledChain& chain,
               const rules::Rule& rule, const rules::Verdict& verdict) override;
  void on_return(const rules::Context&, const rules::CompiledChain&) override {}
  void on_policy(const rules::Context& context, const rules::CompiledChain& chain,
                 rules::VerdictCode policy) override;
  void on_drop(const packet::Packet& packet, packet::Drop reason) override;
  void on_findings(const packet::Packet& packet, const helpers::Helper& helper,
                   const nat::Findings& findings) override;

  /// When a packet of the connection with this entry was last seen; zero: never.
  Time last_seen(std::uint32_t entry) const {
    return entry < last_seen_.size() ? last_seen_[entry] : Time{};
  }

 private:
  void see(const packet::Packet& packet);
  void decide(const packet::Packet& packet, const Decision& decision);

  const bool explains_;
  RuleBook* book_ = nullptr;
  Time now_{};
  Sighted current_;
  std::vector<Time> last_seen_;  // By entry number.
};

}  // namespace weir::replay
