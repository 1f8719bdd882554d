#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "base/ring.h"
#include "base/timing_wheel.h"
#include "conntrack/change.h"
#include "conntrack/connection.h"
#include "conntrack/entry.h"
#include "conntrack/events.h"
#include "conntrack/statistics.h"
#include "conntrack/table.h"
#include "packet/batch.h"

namespace weir::conntrack {

/// How confirm() ended.
enum class Confirmed : std::uint8_t {
  done,       // Nothing to do, or published. Send the packet.
  lost_race,  // Another packet has created this connection meanwhile. The packet now refers to the
              // winner's entry (and ours is gone): restore it to its original tuple, rewrite it by
              // that entry's mapping, then call confirm() again and send it.
  reply_taken,  // Another connection has the reply tuple, which was not reserved: let NAT choose
                // another and call confirm() again, or discard.
  no_room,      // The index has no room within its bound. Discard the packet (counted).
};

/// One worker's hand on the table. A worker calls, between online() and offline(), for each batch:
/// serve_mailbox(), track(), the rest of the path with confirm() or discard() for every packet,
/// then expire() and quiet(). Everything here is for the worker's own thread unless it says
/// otherwise.
class Tracker {
 public:
  Tracker(Table& table, std::uint32_t worker);
  ~Tracker();

  // The path.

  /// Netfilter's conntrack at -200 (nf_conntrack_in) for every packet of `batch` whose state is
  /// not_tracked_yet: sets Packet::ct. A packet that tracking drops gets Packet::drop and stays
  /// where it is. A packet that may belong to a connection which an earlier packet of this batch
  /// has just begun is moved to the end of `later`, in order: track it again when this batch is
  /// confirmed. Requires room in `later`. `verify` is false for packets from the host itself: their
  /// checksums are right by definition.
  void track(packet::Batch& batch, packet::Batch& later, bool verify = true);

  /// The end of a packet's path (nf_conntrack_confirm): publishes the entry that the packet began,
  /// and delivers the packet's events.
  Confirmed confirm(packet::Packet& packet, Time now);
  /// For a packet that is dropped or stolen: frees an entry that it began, with its reservation.
  void discard(packet::Packet& packet);

  /// The entry that `packet` refers to. Requires: it has one.
  Connection connection(const packet::Packet& packet) { return entry(packet.ct.entry); }
  Connection entry(std::uint32_t number);
  /// The extension of an entry, null when it has none.
  Extension* extension(std::uint32_t entry);
  /// The same, made when there is none; null when all are in use. Requires: the entry is not
  /// confirmed and ours, or we hold its lock.
  Extension* extend(std::uint32_t entry);
  /// Gives an entry a timeout policy, whose timeout for new connections is `fresh`. False when
  /// there is no room for its extension. Requires: the entry is not confirmed and ours.
  [[nodiscard]] bool set_timeout_policy(std::uint32_t entry, std::uint16_t policy, Duration fresh);

  // Helpers and what they expect: helper.cc.

  /// Gives an entry a helper, or takes it away (zero). False when there is no room for its
  /// extension. Requires: as extend().
  [[nodiscard]] bool assign_helper(std::uint32_t entry, std::uint16_t helper);
  /// What the helper of an entry remembers. Requires: it has an extension.
  Extension::HelperState helper_state(std::uint32_t entry);
  void set_helper_state(std::uint32_t entry, const Extension::HelperState& state);
  /// Expects on behalf of an entry.
  Expectations::Added expect(std::uint32_t master, const ExpectationRequest& request, Time now);

  /// Text of the packet's connection that has been rewritten, by the numbers of its sender.
  struct Rewritten {
    std::uint32_t begin = 0;
    std::uint16_t length = 0;  // As it was.
    std::int32_t change = 0;   // By how much it is longer now.
  };
  /// Adjusts the connection's sequence numbers from now on. False when there is no room for its
  /// extension.
  [[nodiscard]] bool note_rewrite(packet::Packet& packet, const Rewritten& text);
  /// By the direction of the rewritten packets. Requires: the entry has an extension.
  std::array<SequenceAdjustment, 2> sequence_adjustments(std::uint32_t entry);

  // NAT.

  /// Makes `reply` the reply tuple of an entry that isn't confirmed, and reserves it in the index,
  /// so that no other connection gets it. An earlier reservation of the entry is released. False,
  /// and nothing changed, when another connection has or has reserved it (counted as `found`), or
  /// there is no room.
  [[nodiscard]] bool reserve_reply(std::uint32_t entry, const Tuple& reply, Time now);
  /// Whether a living connection other than `except` has this tuple or has reserved it.
  bool is_taken(const Tuple& tuple, std::uint32_t except, Time now);

  // Changes by rules.

  /// ct mark set: the event is added to the packet's.
  void set_mark(packet::Packet& packet, std::uint32_t mark);
  /// Adds status bits (e.g. kSrcNat, kSrcNatDone); bits are never cleared.
  void add_status(std::uint32_t entry, std::uint32_t bits);
  void set_nat(std::uint32_t entry, const NatInfo& nat);
  /// Deletes a connection at once (masquerade flush, `ct` expressions): events and all.
  void remove(std::uint32_t entry, Time now);

  // Between batches.

  /// Removes what has expired, at most `budget` entries, and takes memory back. Returns how many
  /// timers fired.
  std::size_t expire(Time now, std::size_t budget = 256);
  /// When expire() has something to do at the latest; Time::max() for never. A sleeping worker
  /// wakes then.
  Time next_deadline() const;
  /// Does what control threads have posted, at most `budget` changes.
  std::size_t serve_mailbox(Time now, std::size_t budget = 256);

  void online();
  void offline();
  void quiet();

  // For control threads (see control.h, which most want instead).

  /// Posts a change; false when the mailbox is full. `ticket` counts the posted changes: the change
  /// is done when changes_done() has reached it. Any control thread; wake the worker afterwards.
  [[nodiscard]] bool post(const Change& change, std::uint64_t& ticket);
  std::uint64_t changes_done() const { return changes_done_.load(std::memory_order_acquire); }
  EventRing& events() { return events_; }
  const Statistics& statistics() const { return statistics_; }

 private:
  friend class Table;

  /// A batch on its way through track(): track_batch.cc.
  struct Work;
  /// What update() found when it had the entry's lock.
  enum class Updated : std::uint8_t { done, gone, reopen };
  class Writing;

  // track_batch.cc: the stages of a batch.
  void extract_all(const packet::Batch& batch, bool verify);
  void hash_all(std::size_t count);
  void find_all(std::size_t count);
  bool track_one(packet::Packet& packet, std::size_t i, Time now, class BatchEnds& ends);
  bool update_udp(packet::Packet& packet, Found found, Time now);
  void remember_begun(const packet::Packet& packet, std::uint32_t tag);
  void prepare_publishing();
  /// The index's tags of both tuples of an entry.
  struct Tags {
    std::uint32_t number = 0;  // Whose, and in which life.
    std::uint32_t generation = 0;
    std::uint32_t original = 0;
    std::uint32_t reply = 0;
  };
  Tags tags_of(std::uint32_t number) const;

  // tracker.cc: find, update, begin.
  bool follow(packet::Packet& packet, const Tuple& tuple, std::uint32_t tag, Time now,
              BatchEnds& ends);
  bool relate(packet::Packet& packet, const struct Extracted& what, std::uint32_t tag, Time now,
              BatchEnds& ends);
  const TimeoutList& timeouts_of(const Entry& entry, std::uint32_t status,
                                 std::uint8_t protocol) const;
  std::optional<Found> find(const Tuple& tuple, std::uint32_t tag);
  Updated update(packet::Packet& packet, const Tuple& tuple, Found found, Time now);
  void begin(packet::Packet& packet, const Tuple& tuple, Time now);
  bool is_within_limits(packet::Packet& packet, const Tuple& tuple);
  int apply_to_expectation(std::uint32_t master, const ExpectationChange& change, Time now);
  void forget_expectations(std::uint32_t number);
  bool begin_expected(std::uint32_t number, const ExpectationSnapshot& expectation);
  void set_invalid(packet::Packet& packet, Reason reason, bool is_icmp_error);

  // publish.cc: confirm and reservations.
  enum class Published : std::uint8_t { done, original_taken, reply_taken, no_room };
  Published try_publish(std::uint32_t number, std::uint32_t events, Time now, Found& holder,
                        std::uint32_t port_id = 0);
  bool join(packet::Packet& packet, Found winner, Time now);
  void release_reservation(std::uint32_t number);
  void free_unconfirmed(std::uint32_t number);
  void give_back(std::uint32_t number);
  bool is_holder(Found found, const Tuple& tuple, std::uint32_t except) const;

  // lifetime.cc: room, death, memory.
  std::uint32_t make_room(Time now);
  bool drop_early(Time now);
  void hang(std::uint32_t number, Time now);
  static bool is_overdue_on_wheel(const Entry& entry, Time deadline);
  void hasten(std::uint32_t number, Time now);
  void hang_again(std::uint32_t number, Time now);
  void collect_hastened(Time now);
  bool kill(std::uint32_t number, Time now, std::uint32_t port_id = 0);
  bool kill_expired(std::uint32_t number, Time now);
  void finish_kill(std::uint32_t number, Time now, std::uint32_t port_id);
  void bury(std::uint32_t number);
  void fire(std::uint32_t number, Time now);
  void collect_dead();
  void reclaim();
  void apply(const Change& change, Time now);
  int apply_to_entry(const Change& change, Time now);
  /// Delivers `bits` if anybody listens. Requires: the entry's lock.
  void deliver(std::uint32_t number, std::uint32_t bits, std::uint32_t port_id = 0);

  // edit.cc: what tools make and change. Zero or an errno.
  int create(const Creation& creation, Time now);
  int fill(std::uint32_t number, const Creation& creation, Time now);
  int edit(std::uint32_t number, const Edit& edit, std::uint32_t port_id, Time now);
  void write_edit(std::uint32_t number, const Edit& edit);
  void begin_entry(Entry& entry, const Tuple& original, const Tuple& reply);

  Table& table_;
  Arena& arena_;
  Extensions& extensions_;
  Index& index_;
  const std::uint32_t worker_;
  Arena::FreeList free_;
  Extensions::FreeList free_extensions_;
  TimingWheel assured_;
  TimingWheel unassured_;
  // The dead that wait for their epoch, linked through Entry::link: those gathered now, and those
  // whose tag has been taken.
  struct Limbo {
    std::uint32_t head = 0;
    std::uint64_t tag = 0;
  };
  Limbo gathering_;
  Limbo waiting_;
  const std::unique_ptr<Work> work_;
  // This batch has a packet of a connection whose helper may come to expect what follows it.
  bool has_helped_ = false;
  /// Of the entries that the present batch has begun, in slot number mod 64: they are published at
  /// its end.
  std::array<Tags, packet::kBatchMax> begun_{};
  Statistics statistics_;
  EventRing events_;
  Ring<Change> mailbox_{1024};
  std::mutex post_lock_;  // Of control threads among themselves; guards `posted_` and pushing.
  std::uint64_t posted_ = 0;
  alignas(64) std::atomic<std::uint64_t> changes_done_{0};
  // Entries of ours that other workers have killed, linked through Entry::link; they push, we take
  // all.
  std::atomic<std::uint32_t> graveyard_{0};
  // Entries of ours whose deadlines other workers have brought forward, linked through
  // Entry::hastened.
  std::atomic<std::uint32_t> hastened_{0};
  // Unassured entries of ours that other workers ask us to drop, as the table is full.
  std::atomic<std::uint32_t> evictions_wanted_{0};
};

}  // namespace weir::conntrack
