#include "conntrack/sound.h"

#include <chrono>

#include "wire/protocol.h"

namespace weir::conntrack {
namespace {

/// No timeout is longer: ctnetlink carries 32 bits of seconds.
constexpr Duration kLongestTimeout = std::chrono::seconds(std::int64_t{1} << 32);
constexpr std::uint8_t kLargestScale = 14;  // RFC 7323 section 2.3.

bool is_sound(const Tuple& tuple) {
  return tuple.family == wire::Family::ip || tuple.family == wire::Family::ip6;
}

bool is_sound(const TcpState& tcp) {
  return tcp.phase <= TcpPhase::syn_sent2 && tcp.last_kind <= TcpKind::none &&
         tcp.last_direction <= Direction::reply && tcp.scales[0] <= kLargestScale &&
         tcp.scales[1] <= kLargestScale && tcp.last_scale <= kLargestScale;
}

}  // namespace

bool is_sound(const Entry& entry, Time now) {
  const std::uint32_t status = entry.hot.status;
  const bool is_published =
      (status & status::kConfirmed) != 0 && (status & (status::kDying | status::kTemplate)) == 0;
  const bool has_tuples = is_sound(entry.original) && is_sound(entry.reply) &&
                          entry.original.protocol == entry.reply.protocol &&
                          entry.original.family == entry.reply.family;
  const bool has_deadline =
      entry.hot.deadline >= Time{} && entry.hot.deadline <= now + kLongestTimeout;
  const bool is_tcp = entry.original.protocol == wire::protocol::kTcp;
  return is_published && has_tuples && has_deadline && (!is_tcp || is_sound(entry.tcp));
}

}  // namespace weir::conntrack
