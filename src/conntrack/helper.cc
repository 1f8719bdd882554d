// What helpers, and the rules and requests that assign them, do to connections: all that the rare
// state of an entry needs of the tracker.

#include <cerrno>
#include <mutex>

#include "base/words.h"
#include "conntrack/tracker.h"

namespace weir::conntrack {

/// While an entry's shared state is written: its sequence count is odd. Requires: the entry's lock.
class Tracker::Writing {
 public:
  explicit Writing(Entry& entry) : sequence_(entry.sequence) {
    sequence_.store(sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  ~Writing() {
    sequence_.store(sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

 private:
  std::atomic<std::uint32_t>& sequence_;
};

bool Tracker::assign_helper(std::uint32_t number, std::uint16_t helper) {
  Extension* const extension = extend(number);
  if (extension == nullptr) return false;
  std::atomic_ref(extension->helper).store(helper, std::memory_order_release);
  std::atomic_ref(arena_[number].hot.status)
      .fetch_or(status::kNeedsExtension, std::memory_order_release);
  return true;
}

Expectations::Added Tracker::expect(std::uint32_t master, const ExpectationRequest& request,
                                    Time now) {
  if (extension(master) == nullptr) {
    const std::lock_guard guard(arena_[master].lock);
    if (extend(master) == nullptr) return Expectations::Added::no_master;
  }
  return table_.expectations_.add(master, request, table_.sysctl().expect_max.get(), now);
}

/// Zero or an errno, as ctnetlink gives them.
int Tracker::apply_to_expectation(std::uint32_t master, const ExpectationChange& change, Time now) {
  Expectations& expectations = table_.expectations_;
  switch (change.kind) {
    case ExpectationChange::Kind::remove:
      return expectations.remove(change.number, change.id, change.port_id) ? 0 : ENOENT;
    case ExpectationChange::Kind::set_lifetime:
      return expectations.set_deadline(change.number, change.id, now + change.lifetime, now)
                 ? 0
                 : ETIME;
    case ExpectationChange::Kind::add:
      break;
  }
  switch (expect(master, change.request, now)) {
    case Expectations::Added::done:
      return 0;
    case Expectations::Added::clash:
      return EBUSY;
    case Expectations::Added::elsewhere:
      return EALREADY;
    case Expectations::Added::class_full:
    case Expectations::Added::full:
      return EMFILE;
    case Expectations::Added::no_master:
      break;
  }
  return ESHUTDOWN;
}

/// Requires: the entry is dying, or nobody has seen it.
void Tracker::forget_expectations(std::uint32_t number) {
  Extension* const extension = this->extension(number);
  if (extension != nullptr) table_.expectations_.forget(*extension);
}

Extension::HelperState Tracker::helper_state(std::uint32_t number) {
  Entry& entry = arena_[number];
  const std::lock_guard guard(entry.lock);
  return extensions_[entry.extension].helper_state;
}

void Tracker::set_helper_state(std::uint32_t number, const Extension::HelperState& state) {
  Entry& entry = arena_[number];
  const std::lock_guard guard(entry.lock);
  const Writing writing(entry);
  store_words(extensions_[entry.extension].helper_state, state);
}

bool Tracker::note_rewrite(packet::Packet& packet, const Rewritten& text) {
  Entry& entry = arena_[packet.ct.entry];
  const std::lock_guard guard(entry.lock);
  Extension* const extension = extend(packet.ct.entry);
  if (extension == nullptr) return false;
  const Writing writing(entry);
  SequenceAdjustment& shared = extension->sequence[packet.ct.is_reply() ? 1 : 0];
  SequenceAdjustment changed = shared;
  if (!changed.add(text.begin, text.length, text.change)) return true;
  store_words(shared, changed);
  if (text.change == 0) return true;  // Noted, so that it is known when it is sent again.
  std::atomic_ref(entry.hot.status)
      .fetch_or(status::kSeqAdjust | status::kNeedsExtension, std::memory_order_release);
  packet.ct.events |= event::kSeqAdjust;
  return true;
}

std::array<SequenceAdjustment, 2> Tracker::sequence_adjustments(std::uint32_t number) {
  Entry& entry = arena_[number];
  const std::lock_guard guard(entry.lock);
  return extensions_[entry.extension].sequence;
}

/// A connection whose first packet was expected: RELATED, with its master's mark
/// (init_conntrack). False when there is no room for its extension; it is then an ordinary one.
bool Tracker::begin_expected(std::uint32_t number, const ExpectationSnapshot& expectation) {
  Extension* const extension = extend(number);
  if (extension == nullptr) return false;
  extension->master = expectation.master;
  extension->master_generation = expectation.master_generation;
  extension->master_tuple = expectation.master_tuple;
  extension->nat = expectation.nat;
  extension->master_helper = expectation.master_helper;

  Entry& entry = arena_[number];
  const Connection master(expectation.master, arena_[expectation.master]);
  entry.hot.mark = master.mark();
  if (const std::uint32_t of_master = master.extension()) {
    extension->secmark = std::atomic_ref(extensions_[of_master].secmark).load();
  }
  entry.hot.status |= status::kExpected;
  return expectation.helper == 0 || assign_helper(number, expectation.helper);
}

}  // namespace weir::conntrack
