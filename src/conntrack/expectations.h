#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/counter.h"
#include "base/error.h"
#include "base/mapping.h"
#include "base/ring.h"
#include "base/siphash.h"
#include "base/spin.h"
#include "base/timing_wheel.h"
#include "conntrack/arena.h"
#include "conntrack/expectation.h"
#include "conntrack/extension.h"

namespace weir::conntrack {

/// The expectations of all connections. There are few and they live for minutes; they are looked up
/// only by packets of which no connection is known, and only while there is any (one load).
///
/// One lock guards them all. Workers take it for a few dozen instructions, while they hold no
/// other; control threads never do: they copy by a sequence count, as with entries, and have
/// workers do their changes (Change). The records lie in memory of their own, numbered from 1 on,
/// which a restarted engine maps again.
class Expectations {
 public:
  /// What nf_conntrack_expect_max can't exceed.
  static constexpr std::uint32_t kCapacity = 65536;

  /// What became of a request, and what ctnetlink makes of it.
  enum class Added : std::uint8_t {
    done,
    clash,       // EBUSY: another one is about some of the same connections.
    elsewhere,   // EALREADY: the very same is expected, as another class or by another master.
    class_full,  // There are `most_of_class`.
    full,        // EMFILE
    no_master,   // ESHUTDOWN: the master has no extension, or is going.
  };

  /// The memory, of a file or memfd when `fd` is given. Errors: what Mapping says; EINVAL when the
  /// file holds something else.
  static Result<Mapping> map(int fd);
  /// `memory` is map()'s. The entries and extensions outlive this.
  Expectations(Mapping memory, const Arena& entries, Extensions& extensions);

  std::uint32_t count() const { return count_.load(std::memory_order_relaxed); }

  // For workers.

  /// Expects on behalf of the connection `master`, which needs an extension. The same as before is
  /// made anew, with the old one's end told; of a class that is full the master's oldest goes.
  /// `most` is nf_conntrack_expect_max.
  Added add(std::uint32_t master, const ExpectationRequest& request, std::uint32_t most, Time now);

  /// The expectation that has been waiting for the connection which `first` begins. It is gone
  /// thereby, unless it is permanent. One whose master isn't confirmed or is dying lets nothing in.
  std::optional<ExpectationSnapshot> take(const Tuple& first, Time now) {
    if (count() == 0 || bucket(first).load(std::memory_order_acquire) == 0) return std::nullopt;
    return take_slowly(first, now);
  }

  /// Forgets all that a connection expects.
  void forget(Extension& master);
  /// Forgets one life of a number; false when that is over.
  bool remove(std::uint32_t number, std::uint32_t id, std::uint32_t port_id);
  /// Moves its end; likewise.
  bool set_deadline(std::uint32_t number, std::uint32_t id, Time deadline, Time now);

  /// Forgets what has expired, at most `budget` of it.
  void expire(Time now, std::size_t budget);
  /// When that is due at the latest; Time::max() while nothing is expected.
  Time next_due() const { return Time(Duration(next_due_.load(std::memory_order_relaxed))); }

  // For anybody.

  /// Numbers from this on have never been used.
  std::uint32_t used_end() const { return header().used_end.load(std::memory_order_acquire); }
  /// A consistent copy; nothing when that number expects nothing.
  std::optional<ExpectationSnapshot> snapshot(std::uint32_t number, Time now) const;
  /// The first that is about a connection with this first tuple, active or not. Looks at all.
  std::optional<ExpectationSnapshot> find(const Tuple& first, Time now) const;

  /// One control thread reads them.
  Ring<ExpectationEvent>& events() { return events_; }
  /// Whether anybody listens to events.
  void set_wanted(bool is_wanted) { is_wanted_.store(is_wanted, std::memory_order_relaxed); }
  /// While nf_conntrack_events is 0.
  void mute(bool is_muted) { is_muted_.store(is_muted, std::memory_order_relaxed); }
  bool is_wanted() const { return is_wanted_.load(std::memory_order_relaxed); }

  /// As `conntrack -S` shows: expect_create, expect_delete, expect_new. Written under the lock.
  struct Counts {
    Counter created;
    Counter deleted;
    Counter arrived;
    Counter events_lost;
  };
  const Counts& counts() const { return counts_; }

  /// Before workers run, after the entries were recovered: keeps what living masters expect.
  void recover(Time now);
  /// Likewise, when they were not.
  void clear();

 private:
  struct Record;
  struct Header {
    std::uint64_t magic = 0;
    std::uint32_t layout_version = 0;
    std::uint32_t record_bytes = 0;
    std::atomic<std::uint32_t> used_end{0};
  };
  static constexpr std::size_t kHeaderBytes = 4096;
  static constexpr std::size_t kBuckets = 1024;

  Header& header() const { return *reinterpret_cast<Header*>(memory_.data()); }
  Record& record(std::uint32_t number) const;
  std::atomic<std::uint32_t>& bucket(const Tuple& tuple);
  std::uint32_t id_of(const Record& record, std::uint32_t number) const;
  ExpectationSnapshot shown(std::uint32_t number) const;
  bool is_master_alive(const Expectation& expectation, bool must_be_confirmed) const;

  std::optional<ExpectationSnapshot> take_slowly(const Tuple& first, Time now);
  Added check(std::uint32_t master, const ExpectationRequest& request, std::uint32_t most);
  std::uint32_t allocate();
  void insert(std::uint32_t number, const Expectation& expectation, Time now);
  void link(std::uint32_t number, Time now);
  void unlink(std::uint32_t number, std::uint32_t port_id);
  void evict_oldest(const Extension& master, std::uint16_t class_number, std::uint32_t port_id);
  void tell(std::uint32_t number, bool is_destroyed, std::uint32_t port_id);
  void note_due();

  const Mapping memory_;
  const Arena& entries_;
  Extensions& extensions_;
  SpinLock lock_;  // Guards all that follows, and the records.
  std::array<std::atomic<std::uint32_t>, kBuckets> buckets_{};
  TimingWheel wheel_;
  std::uint32_t free_ = 0;
  std::atomic<std::uint32_t> count_{0};
  std::atomic<Duration::rep> next_due_{Time::max().time_since_epoch().count()};
  Ring<ExpectationEvent> events_{1024};
  std::atomic<bool> is_wanted_{false};
  std::atomic<bool> is_muted_{false};
  Counts counts_;
};

}  // namespace weir::conntrack
