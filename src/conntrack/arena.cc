#include "conntrack/arena.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <new>

#include "base/boot_id.h"
#include "base/random.h"

namespace weir::conntrack {
namespace {

constexpr std::uint64_t kMagic = 0x6e6f632d72696577;  // "weir-con" in memory.
constexpr std::uint32_t kLayoutVersion = 3;
constexpr std::uint32_t kMostEntries = 1u << 30;  // Numbers have 30 bits.

}  // namespace

std::size_t Arena::bytes_of(std::uint32_t capacity) {
  return kHeaderBytes + std::size_t{capacity} * sizeof(Entry);
}

Result<Arena::Origin> Arena::inspect(int fd) {
  struct stat file {};
  if (fstat(fd, &file) != 0) return std::unexpected(system_error("examining the table's file"));
  if (file.st_size == 0) return Origin::nothing;
  alignas(Header) std::array<std::uint8_t, sizeof(Header)> bytes{};
  const ssize_t got = pread(fd, bytes.data(), bytes.size(), 0);
  if (got < 0) return std::unexpected(system_error("reading the table's file"));
  const auto& header = *reinterpret_cast<const Header*>(bytes.data());
  if (static_cast<std::size_t>(got) < sizeof(Header)) return Origin::foreign;
  // An engine that died before it had begun leaves zeroes.
  if (header.magic == 0 && header.layout_version == 0) return Origin::nothing;
  if (header.magic != kMagic) return Origin::foreign;
  if (header.boot_id != boot_id()) return Origin::other_boot;
  if (header.layout_version != kLayoutVersion || header.entry_bytes != sizeof(Entry)) {
    return Origin::other_layout;
  }
  const std::uint32_t used_end = header.used_end.load(std::memory_order_relaxed);
  const bool is_whole = header.capacity <= kMostEntries && used_end >= 1 &&
                        used_end <= header.capacity + 1 &&
                        static_cast<std::size_t>(file.st_size) >= bytes_of(used_end - 1);
  return is_whole ? Origin::this_boot : Origin::foreign;
}

Result<Arena> Arena::open(std::uint32_t capacity, int fd, const std::optional<HashKey>& key) {
  Origin origin = Origin::nothing;
  if (fd >= 0) {
    const auto found = inspect(fd);
    if (!found) return std::unexpected(found.error());
    origin = *found;
  }
  if (origin == Origin::foreign) {
    return std::unexpected(Error{EINVAL, "the table's file is not a connection table, or damaged"});
  }
  // What is there stays where it is: a file may become longer, never shorter.
  if (origin == Origin::this_boot) {
    std::uint32_t before = 0;
    if (pread(fd, &before, sizeof before, offsetof(Header, capacity)) != sizeof before) {
      return std::unexpected(system_error("reading the table's file"));
    }
    capacity = std::max(capacity, before);
  } else if (fd >= 0 && ftruncate(fd, 0) != 0) {
    return std::unexpected(system_error("emptying the table's file"));
  }
  Result<Mapping> mapping =
      fd >= 0 ? Mapping::file(fd, bytes_of(capacity)) : Mapping::anonymous(bytes_of(capacity));
  if (!mapping) return std::unexpected(mapping.error());

  auto* const header = reinterpret_cast<Header*>(mapping->data());
  if (origin == Origin::this_boot) {
    header->capacity = capacity;
  } else {
    new (header) Header{.magic = kMagic,
                        .layout_version = kLayoutVersion,
                        .entry_bytes = sizeof(Entry),
                        .capacity = capacity,
                        .boot_id = boot_id(),
                        .key = key ? *key : random_key(),
                        .used_end = 1};
  }
  return Arena(std::move(*mapping), capacity, origin == Origin::this_boot);
}

Arena::Arena(Mapping mapping, std::uint32_t capacity, bool is_recovered)
    : mapping_(std::move(mapping)),
      entries_(reinterpret_cast<Entry*>(mapping_.data() + kHeaderBytes - sizeof(Entry))),
      capacity_(capacity),
      is_recovered_(is_recovered) {
  if (!is_recovered_) fault_ahead();
}

Arena::Arena(Arena&& other) noexcept
    : mapping_(std::move(other.mapping_)),
      entries_(other.entries_),
      capacity_(other.capacity_),
      is_recovered_(other.is_recovered_),
      faulted_end_(other.faulted_end_) {}

bool Arena::take_chunk(FreeList& list) {
  pool_lock_.lock();
  const std::uint32_t head = pool_head_;
  if (head != 0) {
    pool_head_ = entries_[head].wheel.next;
    entries_[head].wheel = {};
  }
  const std::uint32_t begin = used_end();
  std::uint32_t fresh = 0;
  if (head == 0) {
    fresh = std::min(kChunk, capacity_ + 1 - begin);
    // Never used before, so zero: nobody can be reading them.
    for (std::uint32_t i = 0; i < fresh; ++i) {
      entries_[begin + i].link = i + 1 < fresh ? begin + i + 1 : 0;
    }
    header().used_end.store(begin + fresh, std::memory_order_release);
  }
  pool_lock_.unlock();

  list = head != 0 ? FreeList{head, kChunk} : FreeList{begin, fresh};
  return list.count != 0;
}

std::uint32_t Arena::take(FreeList& list) {
  if (list.count == 0 && !take_chunk(list)) return 0;
  const std::uint32_t number = list.head;
  list.head = entries_[number].link;
  --list.count;
  // The next one, which is written all over when a connection begins.
  for (std::size_t line = 0; line < 3; ++line) {
    __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(&entries_[list.head]) + line * 64, 1);
  }
  ++entries_[number].generation;
  return number;
}

void Arena::give(FreeList& list, std::uint32_t number) {
  entries_[number].link = list.head;
  list.head = number;
  ++list.count;
  if (list.count < 4 * kChunk) return;

  // The oldest would be better, the newest are at hand: cut a chunk off the front.
  std::uint32_t last = list.head;
  for (std::uint32_t i = 1; i < kChunk; ++i) last = entries_[last].link;
  const std::uint32_t chunk = list.head;
  list.head = entries_[last].link;
  list.count -= kChunk;
  entries_[last].link = 0;

  pool_lock_.lock();
  entries_[chunk].wheel.next = pool_head_;
  pool_head_ = chunk;
  pool_lock_.unlock();
}

WheelLinks Arena::wheel_links() const {
  return {reinterpret_cast<std::uint8_t*>(entries_) + offsetof(Entry, wheel), sizeof(Entry)};
}

void Arena::fault_ahead() {
  constexpr std::uint32_t kStep = 16384;  // Four megabytes.
  const std::uint64_t end = used_end();
  const auto wanted =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(capacity_ + 1, end + end / 8 + kStep));
  if (wanted <= faulted_end_) return;
  mapping_.fault_in(kHeaderBytes + std::size_t{faulted_end_} * sizeof(Entry),
                    std::size_t{wanted - faulted_end_} * sizeof(Entry));
  faulted_end_ = wanted;
}

std::uint64_t Arena::memory_bytes() const {
  return kHeaderBytes + std::uint64_t{used_end() - 1} * sizeof(Entry);
}

}  // namespace weir::conntrack
