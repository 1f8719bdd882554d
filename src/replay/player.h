#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/engine.h"
#include "replay/journal.h"
#include "replay/mapper.h"
#include "replay/network.h"
#include "replay/options.h"
#include "replay/ports.h"
#include "replay/prepare.h"
#include "replay/rule_book.h"

namespace weir::replay {

/// One captured packet and what became of it.
struct PacketStory {
  std::uint64_t number = 0;  // From 1, as tshark counts frames (those that could be read).
  Duration since_first{};
  Side side = Side::outside;
  std::string text = {};   // As captured; texts only for a teller.
  std::string ends = {};   // As it came to the gateway.
  bool is_mapped = false;  // `ends` are what an answer was mapped to (mapper.h).
  bool is_cut = false;
  Prepared prepared = {};
  const Sighted* seen = nullptr;
};

/// Is told each packet's story, in order.
class StoryTeller {
 public:
  virtual ~StoryTeller() = default;
  virtual void tell(const PacketStory& story) = 0;
};

/// A connection, over or not.
struct Flow {
  conntrack::Snapshot connection;
  bool is_over = false;
  Duration last_seen{};  // Since 1970.
};

/// Counts over all packets.
struct Totals {
  std::uint64_t read = 0;
  std::uint64_t forwarded = 0;
  std::uint64_t to_host = 0;
  std::uint64_t dropped = 0;
  std::uint64_t held = 0;
  std::uint64_t not_ip = 0;
  std::uint64_t own = 0;  // The gateway's own ICMP errors and TCP resets.
  std::uint64_t mapped = 0;
  std::uint64_t cut = 0;
  std::uint64_t ip_repaired = 0;
  std::uint64_t transport_repaired = 0;
  std::uint64_t offloaded = 0;
  std::uint64_t flows_lost = 0;  // Ended unseen: more ended at once than there is room for.
  std::array<std::uint64_t, static_cast<std::size_t>(packet::Drop::count)> drops{};  // By Drop.
  Duration first{};                                                                  // Since 1970,
  Duration last{};  // the latest so far.
};

/// The engine between an inside and an outside port, fed from a capture.
///
/// The clock is the capture's: it stands still between packets, and before each one all timers that
/// are due until then fire at their moments. It begins at an arbitrary point when the first packet
/// comes, and never goes back: a packet with an earlier time stamp than its predecessor's counts as
/// later by nothing.
class Player {
 public:
  /// Errors: no memory.
  static Result<std::unique_ptr<Player>> create(const Options& options);
  ~Player();

  /// Loads the rules by nft, over a socket in a temporary folder. Errors: nft's own; nft or the
  /// preload library missing.
  Result<void> load_rules(const std::string& file);
  /// Plays everything that `source` has, whose packets carry their time in Packet::arrived, since
  /// 1970. What leaves the ports is also sent to `writer`, unless that is null.
  void play(io::Queue& source, io::Queue* writer, StoryTeller* teller);

  const Totals& totals() const { return totals_; }
  const RuleBook& book() const { return book_; }
  /// All connections that were confirmed, in order of their beginning.
  std::vector<Flow> flows();
  engine::Engine& engine() { return *engine_; }

 private:
  explicit Player(const Options& options);

  void play_one(packet::Packet* packet, StoryTeller* teller);
  void keep_time(const packet::Packet& packet);
  PacketStory make_ready(packet::Packet& packet, bool with_texts);
  void run(packet::Packet* packet, Side side, bool is_piece);
  void advance(Duration wall);
  void turn(Time now);
  void learn_broadcast(const packet::Packet& packet, Side side);
  void gather_ended();
  void end_expired();
  void count(const PacketStory& story);
  Flow flow_of(const conntrack::Snapshot& connection, bool is_over) const;
  Duration wall_of(Time now) const;

  const Options options_;
  const Sides sides_;
  RuleBook book_;
  Journal journal_;
  std::array<WirePort, 2> wires_;
  HostPort host_;
  std::unique_ptr<engine::Engine> engine_;  // Goes before the ports.
  std::unique_ptr<Mapper> mapper_;
  Time now_;
  Totals totals_;
  std::vector<Flow> ended_;
  std::unordered_set<std::uint32_t> broadcasts_;  // Learned ones, as they lie in the header.
};

}  // namespace weir::replay
