#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"
#include "wire/view.h"

namespace weir::wire {

/// ICMP (RFC 792) and ICMPv6 (RFC 4443) share this header; the types differ.
struct Icmp {
  static constexpr std::size_t kChecksumOffset = 2;
  std::uint8_t raw[8];
  std::uint8_t type() const { return raw[0]; }
  std::uint8_t code() const { return raw[1]; }
  Be16 checksum() const { return load<Be16>(raw + 2); }
  Be16 id() const { return load<Be16>(raw + 4); }        // Queries.
  Be16 sequence() const { return load<Be16>(raw + 6); }  // Queries.
  Be32 rest() const { return load<Be32>(raw + 4); }      // Pointer, gateway, MTU; by type.
  std::uint16_t mtu() const { return load<Be16>(raw + 6).host(); }  // ICMP fragmentation needed.

  void set_type(std::uint8_t type) { raw[0] = type; }
  void set_code(std::uint8_t code) { raw[1] = code; }
  void set_checksum(Be16 checksum) { store(raw + 2, checksum); }
  void set_id(Be16 id) { store(raw + 4, id); }
  void set_sequence(Be16 sequence) { store(raw + 6, sequence); }
  void set_rest(Be32 rest) { store(raw + 4, rest); }
};

namespace icmp {
inline constexpr std::uint8_t kEchoReply = 0;
inline constexpr std::uint8_t kUnreachable = 3;
inline constexpr std::uint8_t kSourceQuench = 4;
inline constexpr std::uint8_t kRedirect = 5;
inline constexpr std::uint8_t kEcho = 8;
inline constexpr std::uint8_t kTimeExceeded = 11;
inline constexpr std::uint8_t kParameterProblem = 12;
inline constexpr std::uint8_t kTimestamp = 13;
inline constexpr std::uint8_t kTimestampReply = 14;
inline constexpr std::uint8_t kInformation = 15;
inline constexpr std::uint8_t kInformationReply = 16;
inline constexpr std::uint8_t kAddressMask = 17;
inline constexpr std::uint8_t kAddressMaskReply = 18;

// Codes of kUnreachable (RFC 792, RFC 1122, RFC 1812 section 5.2.7.1).
inline constexpr std::uint8_t kNetUnreachable = 0;
inline constexpr std::uint8_t kHostUnreachable = 1;
inline constexpr std::uint8_t kProtocolUnreachable = 2;
inline constexpr std::uint8_t kPortUnreachable = 3;
inline constexpr std::uint8_t kFragmentationNeeded = 4;
inline constexpr std::uint8_t kSourceRouteFailed = 5;
inline constexpr std::uint8_t kNetProhibited = 9;
inline constexpr std::uint8_t kHostProhibited = 10;
inline constexpr std::uint8_t kAdminProhibited = 13;
// Codes of kTimeExceeded, in ICMPv6 as well.
inline constexpr std::uint8_t kTtlExceeded = 0;
inline constexpr std::uint8_t kReassemblyExceeded = 1;

/// Errors quote a packet: unreachable, quench, redirect, time exceeded, parameter problem.
constexpr bool is_error(std::uint8_t type) {
  return type == kUnreachable || type == kSourceQuench || type == kRedirect ||
         type == kTimeExceeded || type == kParameterProblem;
}
}  // namespace icmp

namespace icmpv6 {
inline constexpr std::uint8_t kUnreachable = 1;
inline constexpr std::uint8_t kPacketTooBig = 2;
inline constexpr std::uint8_t kTimeExceeded = 3;
inline constexpr std::uint8_t kParameterProblem = 4;
inline constexpr std::uint8_t kEcho = 128;
inline constexpr std::uint8_t kEchoReply = 129;
inline constexpr std::uint8_t kListenerQuery = 130;
inline constexpr std::uint8_t kListenerReport = 131;
inline constexpr std::uint8_t kListenerDone = 132;
inline constexpr std::uint8_t kRouterSolicitation = 133;
inline constexpr std::uint8_t kRouterAdvertisement = 134;
inline constexpr std::uint8_t kNeighbourSolicitation = 135;
inline constexpr std::uint8_t kNeighbourAdvertisement = 136;
inline constexpr std::uint8_t kRedirect = 137;
inline constexpr std::uint8_t kListenerReport2 = 143;

// Codes of kUnreachable (RFC 4443 section 3.1).
inline constexpr std::uint8_t kNoRoute = 0;
inline constexpr std::uint8_t kAdminProhibited = 1;
inline constexpr std::uint8_t kBeyondScope = 2;
inline constexpr std::uint8_t kAddressUnreachable = 3;
inline constexpr std::uint8_t kPortUnreachable = 4;
inline constexpr std::uint8_t kPolicyFail = 5;
inline constexpr std::uint8_t kRejectRoute = 6;
// Codes of kParameterProblem (RFC 4443 section 3.4).
inline constexpr std::uint8_t kErroneousField = 0;
inline constexpr std::uint8_t kUnknownNextHeader = 1;
inline constexpr std::uint8_t kUnknownOption = 2;

/// Error messages have the high bit clear (RFC 4443 section 2.1).
constexpr bool is_error(std::uint8_t type) { return type < 128; }
/// Neighbour discovery (RFC 4861), which the host answers.
constexpr bool is_neighbour_discovery(std::uint8_t type) {
  return type >= kRouterSolicitation && type <= kRedirect;
}
}  // namespace icmpv6

}  // namespace weir::wire
