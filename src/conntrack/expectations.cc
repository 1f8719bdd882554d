// Expectations hang in three lists at once: the bucket of their destination, the list of their
// master (newest first, so that the oldest of a class is its last), and the timing wheel.
//
// A master that dies sets DYING before it asks for its expectations to be forgotten, and who adds
// one looks for DYING under the lock: whichever comes first, none outlives its master.

#include "conntrack/expectations.h"

#include <sched.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <new>

#include "base/words.h"
#include "conntrack/connection.h"

namespace weir::conntrack {
namespace {

constexpr std::uint64_t kMagic = 0x7078652d72696577;  // "weir-exp" in memory.
constexpr std::uint32_t kLayoutVersion = 1;

}  // namespace

bool Expected::covers(const Tuple& first) const {
  if (first.dst != tuple.dst || first.dst_port != tuple.dst_port || first.family != tuple.family ||
      first.protocol != tuple.protocol || first.zone != tuple.zone) {
    return false;
  }
  for (std::size_t i = 0; i < source_mask.bytes.size(); ++i) {
    if (((first.src.bytes[i] ^ tuple.src.bytes[i]) & source_mask.bytes[i]) != 0) return false;
  }
  return ((first.src_port.raw ^ tuple.src_port.raw) & source_port_mask.raw) == 0;
}

bool Expected::clashes(const Expected& other) const {
  Expected both = *this;
  for (std::size_t i = 0; i < both.source_mask.bytes.size(); ++i) {
    both.source_mask.bytes[i] &= other.source_mask.bytes[i];
  }
  both.source_port_mask.raw &= other.source_port_mask.raw;
  return both.covers(other.tuple);
}

/// As it lies in memory. `sequence` is odd while it is written.
struct Expectations::Record {
  std::atomic<std::uint32_t> sequence{0};
  std::atomic<std::uint32_t> generation{0};  // Counts the lives of this number.
  std::uint32_t next_of_bucket = 0;          // In the free list as well.
  std::uint32_t next_of_master = 0;
  WheelLink wheel;
  Expectation body;
};

Result<Mapping> Expectations::map(int fd) {
  static_assert(sizeof(Header) + sizeof(Record) <= kHeaderBytes);
  constexpr std::size_t kBytes = kHeaderBytes + std::size_t{kCapacity} * sizeof(Record);
  Result<Mapping> mapping = fd >= 0 ? Mapping::file(fd, kBytes) : Mapping::anonymous(kBytes);
  if (!mapping) return std::unexpected(mapping.error());
  auto* const header = reinterpret_cast<Header*>(mapping->data());
  if (header->magic != 0 && header->magic != kMagic) {
    return std::unexpected(Error{EINVAL, "the expectations' file holds something else"});
  }
  const bool is_ours = header->magic == kMagic && header->layout_version == kLayoutVersion &&
                       header->record_bytes == sizeof(Record) &&
                       header->used_end.load() - 1 <= kCapacity;
  if (!is_ours) {
    new (header) Header{.magic = kMagic,
                        .layout_version = kLayoutVersion,
                        .record_bytes = sizeof(Record),
                        .used_end = 1};
  }
  return mapping;
}

Expectations::Expectations(Mapping memory, const Arena& entries, Extensions& extensions)
    : memory_(std::move(memory)),
      entries_(entries),
      extensions_(extensions),
      wheel_({memory_.data() + kHeaderBytes - sizeof(Record) + offsetof(Record, wheel),
              sizeof(Record)}) {}

Expectations::Record& Expectations::record(std::uint32_t number) const {
  auto* const first = reinterpret_cast<Record*>(memory_.data() + kHeaderBytes - sizeof(Record));
  return first[number];
}

std::atomic<std::uint32_t>& Expectations::bucket(const Tuple& tuple) {
  std::array<std::uint64_t, 3> words;
  std::memcpy(words.data(), tuple.dst.bytes.data(), 16);
  words[2] = std::uint64_t{tuple.dst_port.raw} << 16 | std::uint64_t{tuple.protocol} << 8 |
             static_cast<std::uint64_t>(tuple.family);
  return buckets_[siphash13(entries_.key(), words) % kBuckets];
}

std::uint32_t Expectations::id_of(const Record& record, std::uint32_t number) const {
  const std::array<std::uint64_t, 2> words{
      std::uint64_t{record.generation.load(std::memory_order_acquire)} << 32 | number, kMagic};
  return static_cast<std::uint32_t>(siphash13(entries_.key(), words));
}

ExpectationSnapshot Expectations::shown(std::uint32_t number) const {
  const Record& from = record(number);
  ExpectationSnapshot result{};
  static_cast<Expectation&>(result) = load_words(from.body);
  result.number = number;
  result.id = id_of(from, number);
  return result;
}

bool Expectations::is_master_alive(const Expectation& expectation, bool must_be_confirmed) const {
  const Entry& entry = entries_[expectation.master];
  const Connection master(expectation.master, entry);
  return master.generation() == expectation.master_generation && !master.is_dying() &&
         (master.is_confirmed() || !must_be_confirmed);
}

// Making them.

Expectations::Added Expectations::add(std::uint32_t master, const ExpectationRequest& request,
                                      std::uint32_t most, Time now) {
  const Connection connection(master, entries_[master]);
  const std::uint32_t extension = connection.extension();
  if (extension == 0) return Added::no_master;

  const std::lock_guard guard(lock_);
  if (connection.is_dying()) return Added::no_master;
  const Added refused = check(master, request, most);
  if (refused != Added::done) return refused;
  const std::uint32_t number = allocate();
  if (number == 0) return Added::full;
  insert(number,
         {
             .expected = request.expected,
             .master_tuple = connection.original(),
             .master = master,
             .master_generation = connection.generation(),
             .deadline = now + request.lifetime,
             .nat = request.nat,
             .flags = request.flags,
             .class_number = request.class_number,
             .helper = request.helper,
             .master_helper = extensions_[extension].helper,
             .is_alive = true,
         },
         now);
  counts_.created.add();
  tell(number, false, request.port_id);
  return Added::done;
}

/// Makes room for a new one, or says why there is none (__nf_ct_expect_check).
Expectations::Added Expectations::check(std::uint32_t master, const ExpectationRequest& request,
                                        std::uint32_t most) {
  const Extension& extension = extensions_[Connection(master, entries_[master]).extension()];
  const std::uint16_t& of_class = extension.expectation_counts[request.class_number];
  if (request.most_of_class != 0 && of_class >= request.most_of_class) return Added::class_full;
  for (std::uint32_t number = bucket(request.expected.tuple).load(std::memory_order_relaxed);
       number != 0;) {
    const Record& other = record(number);
    const std::uint32_t next = other.next_of_bucket;
    const bool is_ours = other.body.master == master;
    if (is_ours && other.body.expected == request.expected) {
      if (other.body.class_number != request.class_number) return Added::elsewhere;
      unlink(number, request.port_id);
      break;
    }
    if (other.body.expected.clashes(request.expected)) return Added::clash;
    number = next;
  }
  if (request.max_of_class != 0 && of_class >= request.max_of_class) {
    evict_oldest(extension, request.class_number, request.port_id);
    if (of_class >= request.max_of_class) return Added::full;
  }
  return count() < most ? Added::done : Added::full;
}

void Expectations::evict_oldest(const Extension& master, std::uint16_t class_number,
                                std::uint32_t port_id) {
  std::uint32_t oldest = 0;
  for (std::uint32_t number = master.expectation_head; number != 0;
       number = record(number).next_of_master) {
    if (record(number).body.class_number == class_number) oldest = number;
  }
  if (oldest != 0) unlink(oldest, port_id);
}

std::uint32_t Expectations::allocate() {
  if (free_ != 0) {
    const std::uint32_t number = free_;
    free_ = record(number).next_of_bucket;
    return number;
  }
  const std::uint32_t end = used_end();
  if (end > kCapacity) return 0;
  header().used_end.store(end + 1, std::memory_order_release);
  return end;
}

void Expectations::insert(std::uint32_t number, const Expectation& expectation, Time now) {
  Record& to = record(number);
  to.sequence.fetch_add(1, std::memory_order_relaxed);
  to.generation.fetch_add(1, std::memory_order_release);
  store_words(to.body, expectation);
  to.sequence.fetch_add(1, std::memory_order_release);
  link(number, now);
}

/// Into the three lists.
void Expectations::link(std::uint32_t number, Time now) {
  Record& to = record(number);
  Extension& master = extensions_[Connection(to.body.master, entries_[to.body.master]).extension()];
  to.next_of_master = master.expectation_head;
  master.expectation_head = number;
  ++master.expectation_counts[to.body.class_number];

  std::atomic<std::uint32_t>& head = bucket(to.body.expected.tuple);
  to.next_of_bucket = head.load(std::memory_order_relaxed);
  head.store(number, std::memory_order_release);
  count_.fetch_add(1, std::memory_order_relaxed);
  wheel_.add(number, to.body.deadline, now);
  note_due();
}

// Their ends.

/// Out of the three lists. Requires: it is in them.
void Expectations::unlink(std::uint32_t number, std::uint32_t port_id) {
  Record& from = record(number);
  counts_.deleted.add();
  tell(number, true, port_id);

  std::atomic<std::uint32_t>& head = bucket(from.body.expected.tuple);
  if (head.load(std::memory_order_relaxed) == number) {
    head.store(from.next_of_bucket, std::memory_order_release);
  } else {
    std::uint32_t before = head.load(std::memory_order_relaxed);
    while (record(before).next_of_bucket != number) before = record(before).next_of_bucket;
    record(before).next_of_bucket = from.next_of_bucket;
  }

  Extension& master =
      extensions_[Connection(from.body.master, entries_[from.body.master]).extension()];
  std::uint32_t* link = &master.expectation_head;
  while (*link != number) link = &record(*link).next_of_master;
  *link = from.next_of_master;
  --master.expectation_counts[from.body.class_number];

  if (TimingWheel::hangs(from.wheel)) wheel_.remove(number);
  Expectation dead = from.body;
  dead.is_alive = false;
  from.sequence.fetch_add(1, std::memory_order_relaxed);
  store_words(from.body, dead);
  from.sequence.fetch_add(1, std::memory_order_release);
  from.next_of_bucket = free_;
  free_ = number;
  count_.fetch_sub(1, std::memory_order_relaxed);
  note_due();
}

std::optional<ExpectationSnapshot> Expectations::take_slowly(const Tuple& first, Time now) {
  const std::lock_guard guard(lock_);
  for (std::uint32_t number = bucket(first).load(std::memory_order_relaxed); number != 0;
       number = record(number).next_of_bucket) {
    const Expectation& body = record(number).body;
    const bool is_meant = (body.flags & expect_flag::kInactive) == 0 && body.deadline > now &&
                          body.expected.covers(first);
    if (!is_meant) continue;
    if (!is_master_alive(body, true)) return std::nullopt;
    const ExpectationSnapshot found = shown(number);
    if ((body.flags & expect_flag::kPermanent) == 0) unlink(number, 0);
    counts_.arrived.add();
    return found;
  }
  return std::nullopt;
}

void Expectations::forget(Extension& master) {
  const std::lock_guard guard(lock_);
  while (master.expectation_head != 0) unlink(master.expectation_head, 0);
}

bool Expectations::remove(std::uint32_t number, std::uint32_t id, std::uint32_t port_id) {
  const std::lock_guard guard(lock_);
  if (!record(number).body.is_alive || id_of(record(number), number) != id) return false;
  unlink(number, port_id);
  return true;
}

bool Expectations::set_deadline(std::uint32_t number, std::uint32_t id, Time deadline, Time now) {
  const std::lock_guard guard(lock_);
  Record& of = record(number);
  if (!of.body.is_alive || id_of(of, number) != id) return false;
  Expectation changed = of.body;
  changed.deadline = deadline;
  of.sequence.fetch_add(1, std::memory_order_relaxed);
  store_words(of.body, changed);
  of.sequence.fetch_add(1, std::memory_order_release);
  wheel_.remove(number);
  wheel_.add(number, deadline, now);
  note_due();
  return true;
}

void Expectations::expire(Time now, std::size_t budget) {
  if (next_due() > now) return;
  const std::lock_guard guard(lock_);
  wheel_.turn(now, budget, [&](std::uint32_t number) {
    const Time deadline = record(number).body.deadline;
    if (deadline <= now) {
      unlink(number, 0);
    } else {
      wheel_.add(number, deadline, now);
    }
  });
  note_due();
}

void Expectations::note_due() {
  next_due_.store(wheel_.next_due().time_since_epoch().count(), std::memory_order_relaxed);
}

void Expectations::tell(std::uint32_t number, bool is_destroyed, std::uint32_t port_id) {
  if (!is_wanted() || is_muted_.load(std::memory_order_relaxed)) return;
  if (!events_.has_room()) {
    counts_.events_lost.add();
    return;
  }
  events_.next() = {.is_destroyed = is_destroyed, .port_id = port_id, .expectation = shown(number)};
  events_.publish();
}

// Looking on.

std::optional<ExpectationSnapshot> Expectations::snapshot(std::uint32_t number, Time now) const {
  if (number == 0 || number >= used_end()) return std::nullopt;
  const Record& from = record(number);
  for (unsigned tries = 0;; ++tries) {
    const std::uint32_t before = from.sequence.load(std::memory_order_acquire);
    if (before % 2 == 0) {
      const ExpectationSnapshot result = shown(number);
      if (from.sequence.load(std::memory_order_acquire) == before) {
        const bool is_shown = result.is_alive && result.deadline > now;
        return is_shown ? std::optional(result) : std::nullopt;
      }
    }
    if (tries % 64 == 63) sched_yield();  // The worker that writes it may have lost its processor.
  }
}

std::optional<ExpectationSnapshot> Expectations::find(const Tuple& first, Time now) const {
  for (std::uint32_t number = 1; number < used_end(); ++number) {
    const auto found = snapshot(number, now);
    if (found && found->expected.covers(first)) return found;
  }
  return std::nullopt;
}

// After a restart.

void Expectations::recover(Time now) {
  for (std::uint32_t number = 1; number < used_end(); ++number) {
    Record& found = record(number);
    found.sequence.store(0, std::memory_order_relaxed);
    found.wheel = {};
    const Expectation& body = found.body;
    const bool is_kept = body.is_alive && body.deadline > now && body.master != 0 &&
                         body.master < entries_.used_end() &&
                         body.class_number < Extension::kClasses && is_master_alive(body, true) &&
                         entries_[body.master].extension != 0 &&
                         (body.expected.tuple.family == wire::Family::ip ||
                          body.expected.tuple.family == wire::Family::ip6);
    if (is_kept) {
      link(number, now);
    } else {
      found.body.is_alive = false;
      found.next_of_bucket = free_;
      free_ = number;
    }
  }
}

void Expectations::clear() { header().used_end.store(1, std::memory_order_relaxed); }

}  // namespace weir::conntrack
