#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/error.h"
#include "base/mapping.h"
#include "base/siphash.h"
#include "conntrack/tuple.h"

namespace weir::nat {

/// Which connections come from one address and port (or ICMP id): so that a client's further
/// connections from the same port get the mapping that the first one has, as the kernel's by-source
/// hash does it (and RFC 4787 section 4.1 wants it).
///
/// A hint, not a truth: lines of eight slots with a tag and an entry's number each. Nothing is ever
/// removed; the reader checks that the entry still lives and comes from there, and new sources take
/// the place of old ones. Any thread may read and write at any time, without locks.
class Sources {
 public:
  static constexpr std::size_t kSlots = 8;
  using Candidates = std::array<std::uint32_t, kSlots>;

  /// Room for about `connections`. Errors: ENOMEM.
  static Result<Sources> create(std::uint32_t connections, const HashKey& key);

  /// The entries that may come from the source of `original`; ends with a zero or after kSlots.
  Candidates find(const conntrack::Tuple& original) const;
  void add(const conntrack::Tuple& original, std::uint32_t entry);

 private:
  struct alignas(64) Line {
    std::array<std::atomic<std::uint64_t>, kSlots> slots;
  };
  Sources(Mapping memory, std::size_t lines, const HashKey& key)
      : memory_(std::move(memory)), mask_(lines - 1), key_(key) {}
  std::uint64_t hash(const conntrack::Tuple& original) const;
  Line& line(std::uint64_t hash) const;

  Mapping memory_;
  std::size_t mask_;
  HashKey key_;
};

}  // namespace weir::nat
