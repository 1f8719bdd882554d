#include "helpers/tftp.h"

#include <array>

#include "base/endian.h"
#include "wire/protocol.h"

namespace weir::helpers {
namespace {

using conntrack::Direction;

constexpr std::uint16_t kReadRequest = 1;
constexpr std::uint16_t kWriteRequest = 2;
/// Opcode and block number, or the first two letters of a name (the kernel's struct tftphdr).
constexpr std::size_t kHeaderBytes = 4;

constexpr std::array<nat::ExpectationPolicy, 1> kPolicies = {
    {{.max_expected = 1, .lifetime = std::chrono::minutes(5)}}};

bool is_request(Bytes payload) {
  if (payload.size() < kHeaderBytes) return false;
  const std::uint16_t opcode = load<Be16>(payload.data()).host();
  return opcode == kReadRequest || opcode == kWriteRequest;
}

}  // namespace

std::uint8_t Tftp::protocol() const { return wire::protocol::kUdp; }
std::span<const nat::ExpectationPolicy> Tftp::policies() const { return kPolicies; }

nat::Findings Tftp::inspect(const nat::Payload& payload) const {
  if (!is_request(payload.bytes)) return {};

  // The reply tuple, not the packet, names both ends: under NAT it is what the server will see.
  conntrack::Expected expected{.tuple = payload.connection.reply()};
  expected.tuple.src_port = Be16{0};
  expected.source_mask = conntrack::all_of(expected.tuple.family);
  nat::Findings findings;
  findings.add({.expected = expected,
                .port = payload.connection.original().src_port,
                .direction = Direction::reply});
  return findings;
}

}  // namespace weir::helpers
