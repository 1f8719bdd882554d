#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/equivalence/frames.h"
#include "tests/memory/gateway.h"

namespace weir::test {

/// Random conversations through the gateway: TCP from SYN to the last FIN, UDP, echo and fragmented
/// datagrams over IPv4 and IPv6, from the lan, from the wan to forwarded ports, and among lan
/// hosts, so that both directions come in by one port. Each packet names its conversation (in TCP's
/// sequence numbers, else in the payload), so whoever gets it answers the translated packet that he
/// sees. An answer to a translated packet, which nobody can know before that has left, comes in a
/// later volley.
class Traffic {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::size_t flows = 200;
    /// Answers at once, retransmissions, ICMP errors and damaged packets too. Without: a
    /// conversation has one packet under way at a time, so that their order can't matter.
    bool is_wild = true;
  };
  /// Puts a frame on a wire. It may call seen() before it returns.
  using Send = std::function<void(Side, const Frame&)>;

  Traffic(const Options& options, Send send);

  /// Sends what up to `count` conversations have to say on that side.
  void volley(Side side, std::size_t count);
  /// A frame has come out of the gateway.
  void seen(Side side, const Frame& frame);

  /// Packets that were sent and whose arrival nobody has seen; none when nothing was lost.
  std::size_t unseen() const;
  /// Packets whose arrival was seen.
  std::size_t seen_count() const { return seen_count_; }

 private:
  /// One end of a conversation.
  struct End {
    Side side = Side::lan;
    std::optional<View> view{};  // How it addresses the other; unknown until it has been spoken to.
    Frame last{};                // What it has sent last,
    Frame got{};                 // and what it has got last.
    std::uint32_t sequence = 0;  // TCP: its next.
    std::uint32_t under_way = 0;
  };
  struct Flow {
    std::size_t number = 0;
    bool is_big = false;     // Its datagrams come in fragments.
    bool is_direct = false;  // Among lan hosts, untranslated: its answers may be in one batch with
                             // what they answer.
    std::size_t step = 0;
    End ends[2];
  };

  void add_flow();
  std::optional<std::size_t> next_end(const Flow& flow) const;
  void say(Flow& flow, std::size_t end);
  void say_tcp(Flow& flow, std::size_t end);
  void say_datagram(Flow& flow, std::size_t end);
  bool is_stuck(const Flow& flow, Side side) const;
  void misbehave(Flow& flow, std::size_t end);
  void send(Flow& flow, std::size_t end, const Frame& frame);
  std::uint32_t random(std::uint32_t below) {
    return static_cast<std::uint32_t>(random_() % below);
  }

  Options options_;
  Send send_;
  std::mt19937_64 random_;
  std::vector<Flow> flows_;
  std::uint32_t fragment_id_ = 0;
  std::size_t seen_count_ = 0;
};

}  // namespace weir::test
