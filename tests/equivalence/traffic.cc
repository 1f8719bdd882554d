#include "tests/equivalence/traffic.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::test {
namespace {

using wire::Tcp;
using wire::protocol::kIcmp;
using wire::protocol::kIcmpv6;
using wire::protocol::kTcp;
using wire::protocol::kUdp;

constexpr std::size_t kClient = 0, kServer = 1;
constexpr std::size_t kPieceBytes = 600, kBigBytes = 1900;

/// A TCP connection's course: who says what. Then it begins anew.
struct TcpStep {
  std::size_t end;
  std::uint8_t flags;
  std::uint32_t bytes;
};
constexpr TcpStep kCourse[] = {
    {kClient, Tcp::kSyn, 0},
    {kServer, Tcp::kSyn | Tcp::kAck, 0},
    {kClient, Tcp::kAck, 0},
    {kClient, Tcp::kAck | Tcp::kPsh, 100},
    {kServer, Tcp::kAck | Tcp::kPsh, 700},
    {kServer, Tcp::kAck | Tcp::kPsh, 300},
    {kClient, Tcp::kAck, 0},
    {kClient, Tcp::kAck | Tcp::kPsh, 10},
    {kServer, Tcp::kAck, 0},
    {kClient, Tcp::kAck | Tcp::kFin, 0},
    {kServer, Tcp::kAck | Tcp::kFin, 0},
    {kClient, Tcp::kAck, 0},
};

/// The sequence numbers of a conversation begin at its own number.
std::uint32_t first_sequence(std::size_t flow, std::size_t end) {
  return static_cast<std::uint32_t>(flow << 18 | end << 17);
}

std::vector<std::uint8_t> payload(std::size_t flow, std::size_t end, std::size_t bytes) {
  std::vector<std::uint8_t> text = wire::pattern(std::max<std::size_t>(bytes, 4));
  text[0] = static_cast<std::uint8_t>(flow >> 8);
  text[1] = static_cast<std::uint8_t>(flow);
  text[2] = static_cast<std::uint8_t>(end);
  return text;
}

}  // namespace

Traffic::Traffic(const Options& options, Send send)
    : options_(options), send_(std::move(send)), random_(options.seed) {
  for (std::size_t i = 0; i < options.flows; ++i) add_flow();
}

void Traffic::add_flow() {
  Flow flow;
  flow.number = flows_.size();
  View view;
  const bool is_ip = random(3) != 0;
  view.family = is_ip ? wire::Family::ip : wire::Family::ip6;
  const std::uint32_t kind = random(6);
  view.protocol = kind < 3 ? kTcp : kind < 5 ? kUdp : is_ip ? kIcmp : kIcmpv6;
  flow.is_big = view.protocol == kUdp && random(4) == 0;
  // Few source ports, so that translated connections meet.
  view.src_port =
      static_cast<std::uint16_t>(options_.is_wild ? 40000 + random(30) : 2000 + flow.number);
  view.dst_port =
      static_cast<std::uint16_t>(!options_.is_wild                          ? 80
                                 : view.protocol == kTcp && random(12) == 0 ? 7
                                                                            : 80 + random(3));
  view.echo_id = static_cast<std::uint16_t>(1000 + flow.number);
  const std::uint32_t host = static_cast<std::uint32_t>(flow.number) + 1;
  const std::string lan_host =
      is_ip ? fmt::format("10.{}.{}.{}", 1 + random(3), host / 250, 1 + host % 250)
            : fmt::format("2001:db8:a:{}::{:x}", 1 + random(3), host);
  End& client = flow.ends[kClient];
  End& server = flow.ends[kServer];
  switch (random(8)) {
    case 0:  // From the wan to a forwarded port.
      client.side = Side::wan;
      view.src = is_ip ? fmt::format("198.51.{}.{}", 100 + host / 250, 1 + host % 250)
                       : fmt::format("2001:db8:f::{:x}", host);
      view.dst = is_ip ? "203.0.113.1" : "2001:db8:113::1";
      view.dst_port = 8080;
      if (view.protocol == kIcmp || view.protocol == kIcmpv6) view.protocol = kUdp;
      break;
    case 1:  // Among lan hosts, both directions by one port.
    case 2:
      view.src = lan_host;
      view.dst = is_ip ? "10.200.0.1" : "2001:db8:a:c8::1";
      server.side = Side::lan;
      flow.is_direct = options_.is_wild;
      break;
    case 3:  // Hairpin: a lan host to the forwarded port.
      view.src = lan_host;
      view.dst = is_ip ? "203.0.113.1" : "2001:db8:113::1";
      view.dst_port = 8080;
      if (view.protocol == kIcmp || view.protocol == kIcmpv6) view.protocol = kUdp;
      server.side = Side::lan;
      break;
    default:
      view.src = lan_host;
      view.dst = is_ip ? fmt::format("198.51.100.{}", 1 + random(2))
                       : fmt::format("2001:db8:f::{:x}", 1 + random(2));
      server.side = Side::wan;
  }
  if (client.side == Side::wan) server.side = Side::lan;
  client.view = view;
  flows_.push_back(std::move(flow));
}

std::optional<std::size_t> Traffic::next_end(const Flow& flow) const {
  if (flow.ends[kClient].view->protocol == kTcp) {
    const std::size_t end = kCourse[flow.step % std::size(kCourse)].end;
    if (!flow.ends[end].view) return {};
    // Whoever is next waits until he has got what was said before.
    return flow.ends[1 - end].under_way == 0 ? std::optional(end) : std::nullopt;
  }
  if (!flow.ends[kServer].view || flow.ends[kClient].under_way != 0) return kClient;
  return flow.step % 3 == 1 ? kServer : kClient;
}

/// Whether the client's packet was lost, so that nothing goes on unless he sends it again.
bool Traffic::is_stuck(const Flow& flow, Side side) const {
  const End& client = flow.ends[kClient];
  return client.side == side && client.under_way != 0 && !client.last.empty();
}

void Traffic::volley(Side side, std::size_t count) {
  std::vector<bool> has_spoken(flows_.size());
  for (std::size_t i = 0; i < 4 * count && count != 0; ++i) {
    Flow& flow = flows_[random(static_cast<std::uint32_t>(flows_.size()))];
    if (!flow.is_direct && has_spoken[flow.number]) continue;
    if (!options_.is_wild && flow.ends[0].under_way + flow.ends[1].under_way != 0) continue;
    if (options_.is_wild && is_stuck(flow, side) && random(6) == 0) {
      send_(side, flow.ends[kClient].last);
      continue;
    }
    for (int turn = 0; turn < (flow.is_direct ? 3 : 1); ++turn) {
      const auto end = next_end(flow);
      if (!end || flow.ends[*end].side != side) break;
      if (options_.is_wild && random(12) == 0) misbehave(flow, *end);
      say(flow, *end);
      has_spoken[flow.number] = true;
      if (--count == 0) return;
    }
  }
}

void Traffic::say(Flow& flow, std::size_t end) {
  if (flow.ends[end].view->protocol == kTcp) {
    say_tcp(flow, end);
  } else {
    say_datagram(flow, end);
  }
  ++flow.step;
}

void Traffic::say_tcp(Flow& flow, std::size_t end) {
  const TcpStep& step = kCourse[flow.step % std::size(kCourse)];
  End& speaker = flow.ends[end];
  if ((step.flags & Tcp::kSyn) != 0) {
    const std::uint32_t round = static_cast<std::uint32_t>(flow.step / std::size(kCourse));
    speaker.sequence = first_sequence(flow.number, end) + round * 4000 % (1u << 16);
    if (end == kClient) flow.ends[kServer].view.reset();
  }
  const View& view = *speaker.view;
  const bool acknowledges = (step.flags & Tcp::kAck) != 0;
  Frame frame = wire::build_frame({.src = view.src,
                                   .dst = view.dst,
                                   .protocol = kTcp,
                                   .src_port = view.src_port,
                                   .dst_port = view.dst_port,
                                   .tcp_flags = step.flags,
                                   .sequence = speaker.sequence,
                                   .acknowledgment = acknowledges ? flow.ends[1 - end].sequence : 0,
                                   .payload = wire::pattern(step.bytes)});
  speaker.sequence += step.bytes;
  if ((step.flags & (Tcp::kSyn | Tcp::kFin)) != 0) ++speaker.sequence;
  send(flow, end, frame);
}

void Traffic::say_datagram(Flow& flow, std::size_t end) {
  const View& view = *flow.ends[end].view;
  const bool is_echo = view.protocol == kIcmp || view.protocol == kIcmpv6;
  const bool is_ip = view.family == wire::Family::ip;
  const std::uint8_t echo_type = is_ip ? (end == kClient ? 8 : 0) : (end == kClient ? 128 : 129);
  const Frame frame = wire::build_frame(
      {.src = view.src,
       .dst = view.dst,
       .protocol = view.protocol,
       .src_port = view.src_port,
       .dst_port = view.dst_port,
       .icmp_type = is_echo ? echo_type : std::uint8_t{0},
       .icmp_rest = std::uint32_t{view.echo_id} << 16 | 1,
       .payload = payload(flow.number, end, flow.is_big ? kBigBytes : random(200))});
  if (!flow.is_big) {
    send(flow, end, frame);
    return;
  }
  std::vector<Frame> pieces = cut(frame, kPieceBytes, ++fragment_id_);
  if (options_.is_wild && random(3) == 0) std::swap(pieces.front(), pieces.back());
  ++flow.ends[end].under_way;
  for (const Frame& piece : pieces) send_(flow.ends[end].side, piece);
}

void Traffic::misbehave(Flow& flow, std::size_t end) {
  End& speaker = flow.ends[end];
  switch (random(5)) {
    case 0:  // Says it again.
      if (!speaker.last.empty()) send_(speaker.side, speaker.last);
      return;
    case 1:  // Can't use what it got.
      if (!speaker.got.empty() && read(speaker.got)->view.protocol != kIcmp &&
          read(speaker.got)->view.protocol != kIcmpv6) {
        send_(speaker.side, unreachable(speaker.got, speaker.view->src));
      }
      return;
    case 2:  // Damages a packet.
      if (!speaker.last.empty()) {
        Frame damaged = speaker.last;
        damaged[14 + random(static_cast<std::uint32_t>(damaged.size() - 14))] ^= 0x10;
        send_(speaker.side, damaged);
      }
      return;
    case 3:  // Lets it expire on the way.
      if (!speaker.last.empty() && speaker.view->family == wire::Family::ip6) {
        Frame old = speaker.last;
        old[14 + 7] = 1;
        send_(speaker.side, old);
      }
      return;
    default:  // A reset from nowhere.
      if (speaker.view->protocol == kTcp) {
        send_(speaker.side, wire::build_frame({.src = speaker.view->src,
                                               .dst = speaker.view->dst,
                                               .protocol = kTcp,
                                               .src_port = speaker.view->src_port,
                                               .dst_port = speaker.view->dst_port,
                                               .tcp_flags = Tcp::kRst,
                                               .sequence = speaker.sequence + 0x40000000}));
      }
  }
}

void Traffic::send(Flow& flow, std::size_t end, const Frame& frame) {
  End& speaker = flow.ends[end];
  speaker.last = frame;
  ++speaker.under_way;
  send_(speaker.side, frame);
}

void Traffic::seen(Side side, const Frame& frame) {
  const auto seen = read(frame);
  if (!seen || seen->is_later_fragment) return;
  std::size_t number = 0, end = 0;
  if (seen->view.protocol == kTcp) {
    number = seen->sequence >> 18;
    end = seen->sequence >> 17 & 1;
  } else {
    const bool is_echo = seen->icmp_type == 8 || seen->icmp_type == 0 || seen->icmp_type >= 128;
    if (seen->view.protocol != kUdp && !is_echo) return;
    if (seen->payload.size() < 3) return;
    number = std::size_t{seen->payload[0]} << 8 | seen->payload[1];
    end = seen->payload[2];
  }
  if (number >= flows_.size() || end > 1) return;
  Flow& flow = flows_[number];
  End& listener = flow.ends[1 - end];
  if (listener.side != side || seen->view.protocol != flow.ends[kClient].view->protocol) return;
  ++seen_count_;
  listener.got = frame;
  if (end == kClient) listener.view = seen->view.turned();
  if (flow.ends[end].under_way != 0) --flow.ends[end].under_way;
}

std::size_t Traffic::unseen() const {
  std::size_t count = 0;
  for (const Flow& flow : flows_) count += flow.ends[0].under_way + flow.ends[1].under_way;
  return count;
}

}  // namespace weir::test
