#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "conntrack/change.h"
#include "conntrack/table.h"

namespace weir::conntrack {

/// A control thread's hand on the table: looks without stopping anybody, and has the workers do the
/// changes. One object a thread. What changes something returns when it is done, and needs running
/// workers, or a waker (Table::set_waker) that serves the mailbox itself.
class Control {
 public:
  /// `participant` is Table::control_participant() of this thread.
  Control(Table& table, std::size_t participant) : table_(table), participant_(participant) {}

  /// The living connection with this tuple, its zone included, in either direction or the one that
  /// is given.
  std::optional<Snapshot> find(const Tuple& tuple, Time now,
                               std::optional<Direction> direction = {}) const;

  /// Where a dump has come to. Survives any change of the table: what lives from the dump's begin
  /// to its end is shown once.
  struct Cursor {
    std::uint32_t next = 1;
  };
  /// Shows the next connections, looking at no more than `budget` entries: `show(const Snapshot&)`
  /// returns false to stop before the one it was given. Returns false when everything has been
  /// shown.
  template <typename Show>
  bool dump(Cursor& cursor, std::size_t budget, Time now, Show&& show) const {
    const EpochGuard guard(table_.epochs(), participant_);
    const std::uint32_t end = table_.arena().used_end();
    for (; cursor.next < end && budget != 0; ++cursor.next, --budget) {
      const std::optional<Snapshot> connection = table_.snapshot(cursor.next, now);
      if (connection && !show(*connection)) return true;
    }
    return cursor.next < end;
  }

  /// Deletes one life of an entry; false when it is over already. Callers compare Snapshot::id with
  /// the request's first. `port_id` goes into the event.
  bool remove(const Snapshot& connection, std::uint32_t port_id = 0);
  /// Deletes every connection for which `goes(const Snapshot&)`; returns how many.
  template <typename Goes>
  std::size_t flush(Time now, std::uint32_t port_id, Goes&& goes) {
    std::size_t count = 0;
    Cursor cursor;
    for (bool has_more = true; has_more;) {
      std::vector<Snapshot> gone;
      has_more = dump(cursor, kStep, now, [&](const Snapshot& connection) {
        if (goes(connection)) gone.push_back(connection);
        return true;
      });
      count += remove_all(gone, port_id);
    }
    return count;
  }
  /// Sets the counters to zero and returns the connection as it was (IPCTNL_MSG_CT_GET_CTRZERO).
  std::optional<Snapshot> zero_counters(const Snapshot& connection);
  /// The same for many, waiting once: each becomes as it was; those that are gone are taken out.
  void zero_counters(std::vector<Snapshot>& connections);
  /// Zero, or why not: ENOENT when the connection is gone; EPERM for the timeout of one whose
  /// timeout is fixed; EBUSY (check_status); ENOSPC when there is no extension left.
  int edit(const Snapshot& connection, const Edit& edit, std::uint32_t port_id = 0);
  /// Zero, or why not: EEXIST when either tuple is taken, or NAT finds no free one; EBUSY
  /// (check_status); ENOMEM when the table is full; ENOSPC when the index has no room.
  int create(const Creation& creation);

  /// What a change was posted as.
  struct Posted {
    std::uint32_t worker = 0;
    std::uint64_t ticket = 0;
  };
  /// The two halves of create(), so that one wait serves many: both arguments live until
  /// finish() has returned.
  struct Making {
    Posted posted;
    int error = 0;
  };
  void begin_create(const Creation& creation, Making& making);
  int finish(const Making& making) const;

  /// Changes what one life of a connection expects. Zero, or why not: ENOENT when either is gone;
  /// EBUSY, EALREADY, EMFILE and ESHUTDOWN as Expectations::Added says.
  int expect(std::uint32_t master, std::uint32_t generation, const ExpectationChange& change);

 private:
  static constexpr std::size_t kStep = 1024;

  /// Posts to the entry's owner, waiting for room in its mailbox.
  Posted post(const Change& change);
  void wait(const Posted& posted) const;
  int post_and_wait(Change change);
  /// Posts all, then waits for all; zero or an errno for each.
  std::vector<int> post_all_and_wait(std::vector<Change>& changes);
  std::size_t remove_all(const std::vector<Snapshot>& connections, std::uint32_t port_id);

  Table& table_;
  const std::size_t participant_;
  std::uint32_t next_maker_ = 0;  // The worker that makes the next connection.
};

}  // namespace weir::conntrack
