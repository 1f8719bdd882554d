#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "wire/ethernet.h"
#include "wire/tcp.h"

namespace weir::wire {

using ByteVector = std::vector<std::uint8_t>;

/// What a frame for tests and benchmarks should be; everything has a default that makes a good
/// packet. The family follows from the addresses' notation.
struct FrameSpec {
  std::string_view src = "192.0.2.1";
  std::string_view dst = "198.51.100.1";
  std::uint8_t protocol =
      17;  // With a header for TCP, UDP, ICMP and ICMPv6; others have only the payload.
  std::uint16_t src_port = 1000;
  std::uint16_t dst_port = 2000;
  std::uint8_t ttl = 64;
  std::uint8_t tos = 0;
  std::uint16_t ip_id = 1;
  bool has_df = false;
  ByteVector
      ip_options{};  // IPv4: a multiple of four bytes. IPv6: extension headers, whose last names
  std::uint8_t first_header = 0;  // the protocol; first_header is what the IPv6 header then names.
  std::uint8_t tcp_flags = Tcp::kSyn;
  std::uint32_t sequence = 1;
  std::uint32_t acknowledgment = 0;
  ByteVector tcp_options{};  // A multiple of four bytes.
  std::uint8_t icmp_type = 8;
  std::uint8_t icmp_code = 0;
  std::uint32_t icmp_rest = 0;
  ByteVector payload{};
  MacAddress dst_mac = {2, 0, 0, 0, 0, 1};
  MacAddress src_mac = {2, 0, 0, 0, 0, 2};
};

/// The frame with all lengths and checksums right.
ByteVector build_frame(const FrameSpec& spec);

/// `count` bytes that count up from `first`.
ByteVector pattern(std::size_t count, std::uint8_t first = 0);

}  // namespace weir::wire
