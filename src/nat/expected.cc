#include "nat/expected.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "nat/payload.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::nat {
namespace {

using conntrack::Connection;
using conntrack::Direction;
using conntrack::ExpectationRequest;
using conntrack::Expectations;
using conntrack::Tracker;
using packet::Packet;

/// How many ports are tried when the announced one is taken.
constexpr unsigned kAttempts = 128;

struct Chooser {
  Tracker& tracker;
  std::uint32_t master;
  const HashKey& key;
  Time now;

  /// Expects under the announced port, or under another one above it if that is taken. Zero when
  /// none can be had; else the port. What isn't announced can't be moved.
  std::uint16_t choose(ExpectationRequest request, bool is_announced) {
    const std::uint16_t announced = request.expected.tuple.dst_port.host();
    const std::uint16_t above = 0xffff - announced;
    std::uint16_t port = announced;
    for (unsigned attempt = 0; port != 0; ++attempt) {
      request.expected.tuple.dst_port = Be16::from_host(port);
      const Expectations::Added added = tracker.expect(master, request, now);
      if (added == Expectations::Added::done) return port;
      if (added != Expectations::Added::clash) return 0;
      if (!is_announced || attempt == std::min<unsigned>(kAttempts, above)) return 0;
      port = static_cast<std::uint16_t>(announced + draw(announced, attempt) % above);
    }
    return 0;
  }

  /// Always the same for an announcement of a connection: sent again, it gets the port that it has.
  std::uint64_t draw(std::uint16_t announced, unsigned attempt) const {
    std::array<std::uint64_t, 6> words;
    const conntrack::Tuple& original = tracker.entry(master).original();
    std::memcpy(words.data(), &original, sizeof original);
    words[5] = std::uint64_t{announced} << 32 | attempt;
    return siphash13(key, words);
  }
};

/// Rewrites one announcement. Returns by how much the payload has grown; nothing when it can't be.
std::optional<std::int32_t> rewrite_place(Packet& packet, const Place& place,
                                          const wire::Address& address, std::uint16_t port) {
  std::array<char, kSpelledMax> text;
  const std::size_t length = place.spell(text, packet.family, address, port);
  const Bytes bytes{reinterpret_cast<const std::uint8_t*>(text.data()), length};
  if (!replace(packet, place.offset, place.length, bytes)) return std::nullopt;
  return static_cast<std::int32_t>(length) - place.length;
}

}  // namespace

bool expect_findings(Tracker& tracker, Packet& packet, const Findings& findings,
                     std::span<const ExpectationPolicy> policies, const HashKey& key, Time now) {
  const Connection connection = tracker.connection(packet);
  const Direction own = packet.ct.is_reply() ? Direction::reply : Direction::original;
  const bool is_translated = (connection.status() & conntrack::status::kNatMask) != 0;

  // All places are offsets into the payload as it came, so the last is rewritten first.
  std::int32_t change = 0;
  std::size_t end = 0;
  for (std::size_t i = findings.count; i-- > 0;) {
    const Finding& finding = findings.list[i];
    const ExpectationPolicy& policy = policies[finding.class_number];
    ExpectationRequest request{.expected = finding.expected,
                               .class_number = finding.class_number,
                               .lifetime = policy.lifetime,
                               .max_of_class = policy.max_expected};
    if (!is_translated) {
      if (tracker.expect(connection.number(), request, now) != Expectations::Added::done) {
        return false;
      }
      continue;
    }
    request.nat = {.port = finding.port, .direction = finding.direction, .follows_master = true};
    Chooser chooser{tracker, connection.number(), key, now};
    const std::uint16_t port = chooser.choose(request, finding.place.spell != nullptr);
    if (port == 0) return false;
    if (finding.place.spell == nullptr) continue;
    const auto grown =
        rewrite_place(packet, finding.place, connection.tuple(opposite(own)).dst, port);
    if (!grown) return false;
    change += *grown;
    end = std::max<std::size_t>(end, finding.place.offset + finding.place.length);
  }
  if (end == 0 || packet.l4_protocol != wire::protocol::kTcp) return true;
  const std::uint32_t begin = wire::at<wire::Tcp>(packet.l4().data()).sequence();
  return tracker.note_rewrite(
      packet, {.begin = begin, .length = static_cast<std::uint16_t>(end), .change = change});
}

bool follow_master(Nat& nat, Tracker& tracker, Packet& packet, Time now) {
  if (!conntrack::may_begin(packet)) return true;
  const conntrack::Extension* const extension = tracker.extension(packet.ct.entry);
  const Connection connection = tracker.connection(packet);
  if (extension == nullptr || !extension->nat.follows_master || connection.is_confirmed() ||
      (connection.status() & conntrack::status::kNatDoneMask) != 0) {
    return true;
  }
  // It was alive when this packet was found to be expected, so its memory is there for this batch.
  const Connection master = tracker.entry(extension->master);
  const conntrack::Tuple& theirs = master.tuple(opposite(extension->nat.direction));
  if (!nat.setup(tracker, packet, Manip::src, Range::to(theirs.dst), now)) return false;
  Range to = Range::to(theirs.src);
  to.flags |= Range::kPortsSpecified;
  to.min_port = to.max_port = extension->nat.port.host();
  return nat.setup(tracker, packet, Manip::dst, to, now);
}

}  // namespace weir::nat
