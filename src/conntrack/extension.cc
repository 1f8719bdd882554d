#include "conntrack/extension.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/words.h"

namespace weir::conntrack {
namespace {

constexpr std::uint64_t kMagic = 0x7478652d72696577;  // "weir-ext" in memory.
constexpr std::uint32_t kLayoutVersion = 1;

template <typename T>
T read(const T& field) {
  return std::atomic_ref(const_cast<T&>(field)).load(std::memory_order_acquire);
}

}  // namespace

bool is_sound(const Extension& extension) {
  const wire::Family family = extension.master_tuple.family;
  const bool has_family =
      family == wire::Family::none || family == wire::Family::ip || family == wire::Family::ip6;
  return has_family && extension.nat.direction <= Direction::reply &&
         extension.sequence[0].is_sound() && extension.sequence[1].is_sound();
}

Rare rare_of(const Extension& extension) {
  return {
      .labels = load_words(extension.labels),
      .secmark = read(extension.secmark),
      .timeout_policy = read(extension.timeout_policy),
      .helper = read(extension.helper),
      .synproxy = load_words(extension.synproxy),
      .sequence = {load_words(extension.sequence[0]).summary(),
                   load_words(extension.sequence[1]).summary()},
      .master = extension.master,
      .master_generation = extension.master_generation,
      .master_tuple = extension.master_tuple,
  };
}

Result<Extensions> Extensions::open(std::uint32_t capacity, int fd, bool is_recovered) {
  static_assert(sizeof(Header) + sizeof(Extension) <= kHeaderBytes);
  const std::size_t bytes = kHeaderBytes + std::size_t{capacity} * sizeof(Extension);
  Result<Mapping> mapping = fd >= 0 ? Mapping::file(fd, bytes) : Mapping::anonymous(bytes);
  if (!mapping) return std::unexpected(mapping.error());

  // The file grows with the entries'; one that can't be theirs is forgotten.
  auto* const header = reinterpret_cast<Header*>(mapping->data());
  const bool is_ours = is_recovered && header->magic == kMagic &&
                       header->layout_version == kLayoutVersion &&
                       header->record_bytes == sizeof(Extension) && header->capacity <= capacity &&
                       header->used_end >= 1 && header->used_end <= header->capacity + 1;
  if (is_ours) {
    header->capacity = capacity;
  } else {
    new (header) Header{.magic = kMagic,
                        .layout_version = kLayoutVersion,
                        .record_bytes = sizeof(Extension),
                        .capacity = capacity,
                        .used_end = 1};
  }
  return Extensions(std::move(*mapping), capacity, is_ours);
}

Extensions::Extensions(Mapping mapping, std::uint32_t capacity, bool is_recovered)
    : mapping_(std::move(mapping)),
      records_(reinterpret_cast<Extension*>(mapping_.data() + kHeaderBytes - sizeof(Extension))),
      capacity_(capacity),
      is_recovered_(is_recovered) {}

Extensions::Extensions(Extensions&& other) noexcept
    : mapping_(std::move(other.mapping_)),
      records_(other.records_),
      capacity_(other.capacity_),
      is_recovered_(other.is_recovered_) {}

bool Extensions::take_chunk(FreeList& list) {
  pool_lock_.lock();
  const std::uint32_t head = pool_head_;
  const std::uint32_t begin = used_end();
  std::uint32_t fresh = 0;
  if (head != 0) {
    pool_head_ = records_[head].chunk_link;
  } else {
    fresh = std::min(kChunk, capacity_ + 1 - begin);
    for (std::uint32_t i = 0; i < fresh; ++i) {
      records_[begin + i].link = i + 1 < fresh ? begin + i + 1 : 0;
    }
    header().used_end.store(begin + fresh, std::memory_order_release);
  }
  pool_lock_.unlock();
  list = head != 0 ? FreeList{head, kChunk} : FreeList{begin, fresh};
  return list.count != 0;
}

std::uint32_t Extensions::take(FreeList& list) {
  if (list.count == 0 && !take_chunk(list)) return 0;
  const std::uint32_t number = list.head;
  list.head = records_[number].link;
  --list.count;
  records_[number] = {};
  return number;
}

void Extensions::give(FreeList& list, std::uint32_t number) {
  records_[number].link = list.head;
  list.head = number;
  ++list.count;
  if (list.count < 4 * kChunk) return;

  std::uint32_t last = list.head;
  for (std::uint32_t i = 1; i < kChunk; ++i) last = records_[last].link;
  const std::uint32_t chunk = list.head;
  list.head = records_[last].link;
  list.count -= kChunk;
  records_[last].link = 0;

  pool_lock_.lock();
  records_[chunk].chunk_link = pool_head_;
  pool_head_ = chunk;
  pool_lock_.unlock();
}

std::uint64_t Extensions::memory_bytes() const {
  return kHeaderBytes + std::uint64_t{used_end() - 1} * sizeof(Extension);
}

}  // namespace weir::conntrack
