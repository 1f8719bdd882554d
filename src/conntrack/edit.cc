// Connections that a tool makes or changes (ctnetlink), on the worker that owns them.
//
// A change takes effect whole or not at all: what can be refused is looked at first. It is written
// under the entry's lock with the sequence count odd, so that a dump sees all of it or nothing.
//
// A connection made by a tool is an entry like any other: it belongs to the worker that made it,
// NAT reserves its reply tuple before it is published, and its tuples are inserted both or neither.

#include "conntrack/edit.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <mutex>

#include "conntrack/tracker.h"
#include "wire/protocol.h"

namespace weir::conntrack {
namespace {

/// What a tool may set; nobody takes anything away again.
constexpr std::uint32_t kChangeable =
    status::kSeenReply | status::kAssured | status::kFixedTimeout | status::kHelper;

constexpr unsigned kAttempts = 8;
constexpr unsigned kSplitsAhead = 2;

/// Everything that may have changed: ctnetlink doesn't say which of it did.
constexpr std::uint32_t kAllUpdates = event::kReply | event::kAssured | event::kProtoInfo |
                                      event::kHelper | event::kMark | event::kSeqAdjust |
                                      event::kLabel | event::kSynProxy;

bool needs_extension(const Edit& edit) {
  const bool has_helper = edit.helper && *edit.helper != 0;
  return has_helper || edit.sequence[0] || edit.sequence[1] || edit.synproxy || edit.labels;
}

TcpState changed(TcpState state, const Edit::Tcp& edit) {
  if (edit.phase) state.phase = *edit.phase;
  for (const Direction side : {Direction::original, Direction::reply}) {
    const Edit::Tcp::Flags& flags = edit.flags[static_cast<std::size_t>(side)];
    state.set_flags(side, flags.value, flags.mask);
  }
  if (edit.scales) state.set_scales((*edit.scales)[0], (*edit.scales)[1]);
  return state;
}

SctpState changed(SctpState state, const Edit::Sctp& edit) {
  state.phase = edit.phase;
  state.tags = edit.tags;
  return state;
}

DccpState changed(DccpState state, const Edit::Dccp& edit) {
  state.phase = edit.phase;
  state.client = edit.client;
  if (edit.handshake_sequence) state.handshake_sequence = *edit.handshake_sequence;
  return state;
}

std::array<std::uint8_t, Extension::kLabelBytes> changed(
    std::array<std::uint8_t, Extension::kLabelBytes> labels, const Edit::Labels& edit) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i] = static_cast<std::uint8_t>((labels[i] & ~edit.mask[i]) ^ edit.value[i]);
  }
  return labels;
}

/// Status bits that follow from what the extension holds after the edit.
std::uint32_t status_of(const Edit& edit, std::uint32_t old) {
  std::uint32_t status = old | (edit.status.value_or(0) & kChangeable);
  if (edit.sequence[0] || edit.sequence[1]) status |= status::kSeqAdjust | status::kNeedsExtension;
  if (edit.helper && *edit.helper != 0) status |= status::kHelper | status::kNeedsExtension;
  return status;
}

void write_extension(Extension& extension, const Edit& edit) {
  if (edit.helper && *edit.helper != extension.helper) {
    std::atomic_ref(extension.helper).store(*edit.helper, std::memory_order_relaxed);
    store_words(extension.helper_state, edit.helper_state);
  }
  for (std::size_t i = 0; i < edit.sequence.size(); ++i) {
    if (!edit.sequence[i]) continue;
    SequenceAdjustment adjustment;
    adjustment.set(*edit.sequence[i]);
    store_words(extension.sequence[i], adjustment);
  }
  if (edit.synproxy) store_words(extension.synproxy, *edit.synproxy);
  if (edit.labels) store_words(extension.labels, changed(extension.labels, *edit.labels));
}

}  // namespace

int check_status(std::uint32_t old, std::uint32_t wanted) {
  constexpr std::uint32_t kNever = status::kExpected | status::kConfirmed | status::kDying;
  constexpr std::uint32_t kOnlySet = status::kSeenReply | status::kAssured;
  const std::uint32_t differing = old ^ wanted;
  return (differing & kNever) != 0 || (differing & kOnlySet & ~wanted) != 0 ? EBUSY : 0;
}

/// Requires: the entry's lock, or nobody else sees it. Has checked everything that can be refused.
void Tracker::write_edit(std::uint32_t number, const Edit& edit) {
  Entry& entry = arena_[number];
  if (Extension* const own = extension(number)) write_extension(*own, edit);
  if (edit.mark) {
    std::atomic_ref mark(entry.hot.mark);
    const std::uint32_t old = mark.load(std::memory_order_relaxed);
    mark.store((old & ~edit.mark->mask) ^ edit.mark->value, std::memory_order_release);
  }
  if (edit.tcp) store_words(entry.tcp, changed(entry.tcp, *edit.tcp));
  if (edit.sctp) store_words(entry.sctp, changed(entry.sctp, *edit.sctp));
  if (edit.dccp) store_words(entry.dccp, changed(entry.dccp, *edit.dccp));
  std::atomic_ref status(entry.hot.status);
  const std::uint32_t old = status.load(std::memory_order_relaxed);
  status.store(status_of(edit, old), std::memory_order_release);
}

/// IPCTNL_MSG_CT_NEW for an entry that is there. Requires: it is ours.
int Tracker::edit(std::uint32_t number, const Edit& edit, std::uint32_t port_id, Time now) {
  Entry& entry = arena_[number];
  bool must_hang_again = false;
  {
    const std::lock_guard lock(entry.lock);
    const std::uint32_t status = entry.hot.status;
    if ((status & status::kDying) != 0) return ENOENT;
    if (edit.timeout && (status & status::kFixedTimeout) != 0) return EPERM;
    if (edit.status) {
      if (const int error = check_status(status, *edit.status)) return error;
    }
    if (needs_extension(edit) && extend(number) == nullptr) return ENOSPC;

    const std::uint32_t sequence = entry.sequence.load(std::memory_order_relaxed);
    entry.sequence.store(sequence + 1, std::memory_order_relaxed);
    if (edit.timeout) {
      const Time deadline = now + *edit.timeout;
      must_hang_again = deadline < entry.hot.deadline;
      store_words(entry.hot.deadline, deadline);
    }
    write_edit(number, edit);
    entry.sequence.store(sequence + 2, std::memory_order_release);
    if ((table_.wanted_events() & kAllUpdates) != 0) deliver(number, kAllUpdates, port_id);
  }
  if (must_hang_again) hang_again(number, now);
  if (edit.helper && *edit.helper == 0) forget_expectations(number);
  return 0;
}

void Tracker::begin_entry(Entry& entry, const Tuple& original, const Tuple& reply) {
  entry.owner.store(static_cast<std::uint8_t>(worker_), std::memory_order_relaxed);
  entry.hot = {};
  entry.original = original;
  entry.reply = reply;
  entry.start = {};
  entry.stop = {};
  entry.nat = {};
  entry.reply_reserved = false;
  entry.counted.store(0, std::memory_order_relaxed);
  entry.extension = 0;
  entry.tcp = {};
}

/// IPCTNL_MSG_CT_NEW for an entry that isn't there.
int Tracker::create(const Creation& creation, Time now) {
  const std::uint32_t number = make_room(now);
  if (number == 0) return ENOMEM;
  Entry& entry = arena_[number];
  begin_entry(entry, creation.original, creation.reply);
  const int error = fill(number, creation, now);
  if (error != 0) {
    free_unconfirmed(number);
    return error;
  }
  statistics_.insert.add();
  return 0;
}

/// Everything from the blank entry to the published one.
int Tracker::fill(std::uint32_t number, const Creation& creation, Time now) {
  Entry& entry = arena_[number];
  const Edit& edit = creation.edit;
  entry.hot.deadline = Time(edit.timeout.value_or(Duration{}));
  if (creation.chooser != nullptr && !creation.chooser->choose(*this, number, now)) return EEXIST;
  if (edit.status) {
    const int error = check_status(entry.hot.status | status::kConfirmed, *edit.status);
    if (error != 0) return error;
  }
  const bool is_expected = creation.master_tuple.family != wire::Family::none;
  if (is_expected || needs_extension(edit)) {
    Extension* const extension = extend(number);
    if (extension == nullptr) return ENOMEM;
    extension->master = creation.master;
    extension->master_generation = creation.master_generation;
    extension->master_tuple = creation.master_tuple;
  }
  write_edit(number, edit);
  if (is_expected) entry.hot.status |= status::kExpected;

  std::uint32_t events = kAllUpdates;
  if (!edit.labels) events &= ~event::kLabel;
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    Found holder;
    switch (try_publish(number, events, now, holder, creation.port_id)) {
      case Published::done:
        return 0;
      case Published::no_room:
        index_.grow_anyway(kSplitsAhead << attempt);
        continue;
      case Published::original_taken:
      case Published::reply_taken:
        if (!kill_expired(holder.number, now)) return EEXIST;
    }
  }
  statistics_.chain_too_long.add();
  return ENOSPC;
}

}  // namespace weir::conntrack
