#include <cstring>

#include "pipeline/forward_check.h"
#include "wire/ipv4.h"

namespace weir::pipeline {
namespace {

using Verdict = Ipv4Options::Verdict;
namespace option = wire::ipv4_option;

constexpr std::uint8_t kTimestampOnly = 0;
constexpr std::uint8_t kTimestampAndAddress = 1;
constexpr std::uint8_t kTimestampPrespecified = 3;

Ipv4Options malformed(std::size_t at) {
  return {.verdict = Verdict::malformed, .pointer = static_cast<std::uint8_t>(at)};
}

/// How many bytes the router writes into a timestamp option with this flag.
std::size_t timestamp_entry_bytes(std::uint8_t flag) { return flag == kTimestampOnly ? 4 : 8; }

/// The byte of a record-route option that is wrong, counted from its start; zero when it is fine
/// (its first byte can't be wrong here).
std::size_t bad_byte_of_route(Bytes whole) {
  if (whole.size() < 3) return 1;
  if (whole[2] < 4) return 2;
  return whole[2] <= whole.size() && whole[2] + std::size_t{3} > whole.size() ? 2 : 0;
}

std::size_t bad_byte_of_timestamp(Bytes whole) {
  if (whole.size() < 4) return 1;
  if (whole[2] < 5) return 2;
  const std::uint8_t flag = whole[3] & 0x0f;
  if (whole[2] <= whole.size()) {
    return whole[2] - std::size_t{1} + timestamp_entry_bytes(flag) > whole.size() ? 2 : 0;
  }
  const bool is_overflow_full = flag != kTimestampPrespecified && whole[3] >> 4 == 15;
  return is_overflow_full ? 3 : 0;
}

void put_timestamp(std::uint8_t* at, std::uint32_t milliseconds) {
  store(at, Be32::from_host(milliseconds));
}

void add_timestamp(std::uint8_t* whole, Be32 own_address, std::uint32_t milliseconds) {
  const std::uint8_t flag = whole[3] & 0x0f;
  if (whole[2] > whole[1]) {
    whole[3] = static_cast<std::uint8_t>(whole[3] + 0x10);  // One more that found no room.
    return;
  }
  std::uint8_t* entry = whole + whole[2] - 1;
  if (flag == kTimestampAndAddress) {
    store(entry, own_address);
    entry += 4;
  }
  put_timestamp(entry, milliseconds);
  whole[2] = static_cast<std::uint8_t>(whole[2] + timestamp_entry_bytes(flag));
}

}  // namespace

Ipv4Options check_ipv4_options(const packet::Packet& packet) {
  Ipv4Options found;
  const Bytes header = packet.l3().first(wire::at<wire::Ipv4>(packet.l3().data()).header_bytes());
  wire::OptionWalk walk(header.subspan(sizeof(wire::Ipv4)));
  while (walk.next()) {
    const std::size_t at = sizeof(wire::Ipv4) + walk.offset();
    const Bytes whole = walk.whole();
    std::size_t bad = 0;
    switch (walk.kind()) {
      case option::kLooseSourceRoute:
      case option::kStrictSourceRoute:
        if (whole.size() < 3) return malformed(at + 1);
        if (whole[2] < 4) return malformed(at + 2);
        if (found.verdict == Verdict::source_route) return malformed(at);  // RFC 1812 5.2.4.1.
        found.verdict = Verdict::source_route;
        break;
      case option::kRecordRoute:
        if (found.record_route != 0) return malformed(at);
        bad = bad_byte_of_route(whole);
        if (bad != 0) return malformed(at + bad);
        found.record_route = static_cast<std::uint8_t>(at);
        break;
      case option::kTimestamp:
        if (found.timestamp != 0) return malformed(at);
        bad = bad_byte_of_timestamp(whole);
        if (bad != 0) return malformed(at + bad);
        found.timestamp = static_cast<std::uint8_t>(at);
        break;
      case option::kRouterAlert:
        if (whole.size() < 4) return malformed(at + 1);
        found.has_router_alert = whole[2] == 0 && whole[3] == 0;
        break;
      default:
        break;
    }
  }
  if (walk.is_malformed()) return malformed(sizeof(wire::Ipv4) + walk.offset());
  return found;
}

void update_ipv4_options(packet::Packet& packet, const Ipv4Options& options, Be32 own_address,
                         std::uint32_t milliseconds_of_day) {
  if (options.record_route == 0 && options.timestamp == 0) return;
  std::uint8_t* const header = packet.l3().data();
  if (options.record_route != 0) {
    std::uint8_t* const whole = header + options.record_route;
    if (whole[2] <= whole[1]) {
      store(whole + whole[2] - 1, own_address);
      whole[2] = static_cast<std::uint8_t>(whole[2] + 4);
    }
  }
  if (options.timestamp != 0) {
    std::uint8_t* const whole = header + options.timestamp;
    // Prespecified addresses are for the hosts that are named.
    const std::uint8_t flag = whole[3] & 0x0f;
    if (flag == kTimestampOnly || flag == kTimestampAndAddress) {
      add_timestamp(whole, own_address, milliseconds_of_day);
    }
  }
  wire::at<wire::Ipv4>(header).fill_checksum();
}

}  // namespace weir::pipeline
