#include "nat/sources.h"

#include <algorithm>
#include <bit>

namespace weir::nat {
namespace {

constexpr std::uint64_t kTag = 0xffffffff00000000;

std::uint64_t slot_of(std::uint64_t hash, std::uint32_t entry) { return (hash & kTag) | entry; }

}  // namespace

Result<Sources> Sources::create(std::uint32_t connections, const HashKey& key) {
  const std::size_t lines = std::bit_ceil(std::max<std::size_t>(connections / kSlots, 16));
  Result<Mapping> memory = Mapping::anonymous(lines * sizeof(Line));
  if (!memory) return std::unexpected(memory.error());
  return Sources(std::move(*memory), lines, key);
}

std::uint64_t Sources::hash(const conntrack::Tuple& original) const {
  const std::uint8_t* const address = original.src.bytes.data();
  const std::uint64_t rest =
      std::uint64_t{original.zone} << 32 | std::uint64_t{original.src_port.raw} << 16 |
      std::uint64_t{original.protocol} << 8 | static_cast<std::uint8_t>(original.family);
  return siphash13<3>(key_, {load<std::uint64_t>(address), load<std::uint64_t>(address + 8), rest});
}

Sources::Line& Sources::line(std::uint64_t hash) const {
  return reinterpret_cast<Line*>(memory_.data())[hash & mask_];
}

Sources::Candidates Sources::find(const conntrack::Tuple& original) const {
  Candidates found{};
  std::size_t count = 0;
  const std::uint64_t wanted = hash(original);
  for (const auto& slot : line(wanted).slots) {
    const std::uint64_t value = slot.load(std::memory_order_relaxed);
    if ((value & kTag) == (wanted & kTag)) found[count] = static_cast<std::uint32_t>(value);
    if (found[count] != 0 && ++count == kSlots) break;
  }
  return found;
}

void Sources::add(const conntrack::Tuple& original, std::uint32_t entry) {
  const std::uint64_t where = hash(original);
  auto& slots = line(where).slots;
  std::size_t victim = entry % kSlots;
  for (std::size_t i = 0; i < kSlots; ++i) {
    const std::uint64_t value = slots[i].load(std::memory_order_relaxed);
    if (value != 0 && (value & kTag) != (where & kTag)) continue;
    victim = i;  // Empty, or this source's last connection.
    break;
  }
  slots[victim].store(slot_of(where, entry), std::memory_order_relaxed);
}

}  // namespace weir::nat
