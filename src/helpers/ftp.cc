// The client's commands and the server's answers are lines, and only what begins a line is one of
// them: "227" may stand anywhere in a text. A packet's first byte begins a line when the byte
// before it was a newline, so of each direction the sequence numbers after the last newlines that
// ended a packet are remembered. (Nobody sends a command in the middle of a packet.)

#include "helpers/ftp.h"

#include <array>
#include <bit>

#include "helpers/ftp_lines.h"
#include "wire/protocol.h"

namespace weir::helpers {
namespace {

using conntrack::Direction;
using conntrack::Extension;
using ftp::Announcement;

constexpr std::array<nat::ExpectationPolicy, 1> kPolicies = {
    {{.max_expected = 1, .lifetime = std::chrono::minutes(5)}}};

constexpr std::uint16_t kLowestPort = 1024;

/// The places after newlines, of one direction.
struct Lines {
  static constexpr std::size_t kMost = 3;

  std::array<std::uint32_t, kMost> begins{};
  std::uint8_t count = 0;
  bool takes_anything = false;  // The next packet is taken to begin a line.
  std::uint16_t unused = 0;

  bool has(std::uint32_t sequence) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (begins[i] == sequence) return true;
    }
    return false;
  }
  /// Instead of the oldest.
  void add(std::uint32_t sequence) {
    if (has(sequence)) return;
    if (count < kMost) {
      begins[count++] = sequence;
      return;
    }
    std::size_t oldest = 0;
    for (std::size_t i = 1; i < kMost; ++i) {
      if (static_cast<std::int32_t>(begins[i] - begins[oldest]) < 0) oldest = i;
    }
    begins[oldest] = sequence;
  }
};

using Memory = std::array<Lines, 2>;  // By Direction.
static_assert(sizeof(Memory) == sizeof(Extension::HelperState));

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::uint8_t Ftp::protocol() const { return wire::protocol::kTcp; }
std::span<const nat::ExpectationPolicy> Ftp::policies() const { return kPolicies; }

Extension::HelperState Ftp::picked_up() const {
  Memory memory{};
  for (Lines& lines : memory) lines.takes_anything = true;
  return std::bit_cast<Extension::HelperState>(memory);
}

nat::Findings Ftp::inspect(const nat::Payload& payload) const {
  nat::Findings findings;
  if (!payload.is_established || payload.bytes.empty()) return findings;

  auto memory = std::bit_cast<Memory>(payload.state);
  Lines& lines = memory[static_cast<std::size_t>(payload.direction)];
  const bool begins_line =
      lines.has(payload.sequence) || payload.was_rewritten || lines.takes_anything;
  const wire::Family family = payload.own().family;
  const Announcement said =
      begins_line ? ftp::read(text_of(payload.bytes), payload.direction, family) : Announcement{};
  findings.must_drop = said.found == Announcement::Found::partly;
  if (findings.must_drop) return findings;

  lines.takes_anything = lines.takes_anything && !begins_line;
  if (payload.bytes.back() == '\n') {
    lines.add(payload.sequence + static_cast<std::uint32_t>(payload.bytes.size()));
  }
  if (const auto state = std::bit_cast<Extension::HelperState>(memory); state != payload.state) {
    findings.remembered = state;
  }
  if (said.found != Announcement::Found::whole) return findings;

  const bool is_own_address = !said.has_address || said.address == payload.own().src;
  const bool is_fair_port = payload.direction == Direction::reply || said.port >= kLowestPort;
  if (!is_own_address || said.port == 0 || !is_fair_port) return findings;

  // The data connection comes from the other end to where that end sees the announcer.
  conntrack::Expected expected{.tuple = payload.answer()};
  expected.tuple.src_port = Be16{0};
  expected.tuple.dst_port = Be16::from_host(said.port);
  expected.source_mask = conntrack::all_of(family);
  findings.add({.expected = expected,
                .port = expected.tuple.dst_port,
                .direction = opposite(payload.direction),
                .place = said.place});
  return findings;
}

}  // namespace weir::helpers
