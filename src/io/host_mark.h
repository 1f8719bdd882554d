#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weir::io {

/// How a packet's mark passes between engine and host: a TAP has no place for it, so a marked frame
/// carries it in its source address, behind a prefix that no device has (a source is never a group,
/// IEEE 802). bpf/port.bpf.c is the other end: to the host it becomes the packet's mark again, so
/// that the kernel's own checks (rp_filter with src_valid_mark, fwmark rules, sockets) see what the
/// rules have set; from the host it is what SO_MARK or the kernel's rules have set.
inline constexpr std::array<std::uint8_t, 2> kMarkPrefix = {0x03, 0x77};
inline constexpr std::size_t kSourceAddressAt = 6;  // In the Ethernet header.

inline bool has_mark_prefix(const std::uint8_t* frame) {
  return std::memcmp(frame + kSourceAddressAt, kMarkPrefix.data(), kMarkPrefix.size()) == 0;
}

/// Before a frame goes to the host. A sender's own address that looks like a mark is spoilt.
inline void put_host_mark(std::uint8_t* frame, std::uint32_t mark) {
  std::uint8_t* const source = frame + kSourceAddressAt;
  if (mark == 0) {
    if (has_mark_prefix(frame)) source[0] = 0;
    return;
  }
  std::memcpy(source, kMarkPrefix.data(), kMarkPrefix.size());
  std::memcpy(source + kMarkPrefix.size(), &mark, sizeof mark);
}

/// The mark of a frame that the host has sent: zero without one. The source address is lost with
/// it.
inline std::uint32_t host_mark(const std::uint8_t* frame) {
  std::uint32_t mark = 0;
  if (has_mark_prefix(frame)) {
    std::memcpy(&mark, frame + kSourceAddressAt + kMarkPrefix.size(), sizeof mark);
  }
  return mark;
}

}  // namespace weir::io
