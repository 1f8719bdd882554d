// An FTP conversation through a masquerading gateway whose helper reads and rewrites it. A record
// (records.h) is a segment's payload: bit 0 of its control says who sends it, client or server, bit
// 1 sends it twice. Whatever is in it: the receiver sees a gapless stream with right checksums,
// what is acknowledged is the sender's own number, and a segment that is sent again is the same
// again.
#include <array>
#include <map>
#include <optional>
#include <string>

#include "tests/fuzz/records.h"
#include "tests/fuzz/require.h"
#include "tests/memory/gateway.h"
#include "wire/build.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::test {
namespace {

constexpr const char* kRules = R"(
table inet gateway {
  ct helper ftp { type "ftp" protocol tcp; }
  chain helpers {
    type filter hook prerouting priority mangle;
    tcp dport 21 ct helper set "ftp"
  }
  chain post {
    type nat hook postrouting priority srcnat;
    oifname "wan0" meta nfproto ipv4 masquerade
  }
}
)";

constexpr std::size_t kLongestPayload = 1400;

MemoryGateway& gateway() {
  static const auto gateway = [] {
    auto made = MemoryGateway::create(
        {.conntrack_max = 64, .small_buffers = 256, .large_buffers = 8, .wan_mtu = 1500});
    require(made.has_value(), "there is a gateway");
    const auto loaded = (*made)->load_rules(kRules);
    if (!loaded) std::fprintf(stderr, "%s\n", loaded.error().text.c_str());
    require(loaded.has_value(), "the rules are loaded");
    (*made)->open();
    return std::move(*made);
  }();
  return *gateway;
}

/// A TCP segment that came out, headers as numbers.
struct Segment {
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgment = 0;
  std::string payload;
};

std::optional<Segment> read(Bytes frame) {
  if (frame.size() < 14 + 40) return std::nullopt;
  const Bytes l3 = frame.subspan(14);
  const auto& ip = wire::at<wire::Ipv4>(l3.data());
  if (ip.version() != 4 || ip.protocol() != wire::protocol::kTcp) return std::nullopt;
  const std::size_t length = load<Be16>(l3.data() + 2).host();
  require(length <= l3.size(), "the datagram is as long as it says");
  const Bytes l4 = l3.first(length).subspan(ip.header_bytes());
  require(wire::finish(wire::sum(l3.first(ip.header_bytes()))).raw == 0, "IP's checksum is right");
  const wire::Sum sum = wire::pseudo_header(wire::Family::ip, l3.data(), wire::protocol::kTcp,
                                            static_cast<std::uint32_t>(l4.size())) +
                        wire::sum(l4);
  require(wire::finish(sum).raw == 0, "TCP's checksum is right");
  const auto& tcp = wire::at<wire::Tcp>(l4.data());
  const Bytes payload = l4.subspan(tcp.header_bytes());
  return Segment{.sequence = tcp.sequence(),
                 .acknowledgment = tcp.acknowledgment(),
                 .payload = {payload.begin(), payload.end()}};
}

/// One end of the conversation, as it counts itself and as the other one sees it.
struct End {
  Side side;
  std::uint32_t sent = 0;   // Next number that it sends.
  std::uint32_t shown = 0;  // The same, as its peer sees it.
};

class Conversation {
 public:
  explicit Conversation(MemoryGateway& gateway) : gateway_(gateway) {
    send(0, wire::Tcp::kSyn, {});
    send(1, wire::Tcp::kSyn | wire::Tcp::kAck, {});
    send(0, wire::Tcp::kAck, {});
    require(ends_[0].shown == 1001 && ends_[1].shown == 5001, "the connection is made");
  }

  void say(std::size_t who, Bytes payload, bool twice) {
    const End before = ends_[who];
    const auto first = send(who, wire::Tcp::kAck | wire::Tcp::kPsh, payload);
    if (!first || !twice) return;
    const End after = ends_[who];
    ends_[who] = before;
    const auto second = send(who, wire::Tcp::kAck | wire::Tcp::kPsh, payload);
    require(second.has_value() && second->payload == first->payload, "sent again, the same again");
    ends_[who] = after;
  }

 private:
  std::optional<Segment> send(std::size_t who, std::uint8_t flags, Bytes payload) {
    End& from = ends_[who];
    End& to = ends_[1 - who];
    wire::FrameSpec spec{.src = who == 0 ? "10.1.0.1" : "198.51.100.1",
                         .dst = who == 0 ? "198.51.100.1" : "203.0.113.1",
                         .protocol = wire::protocol::kTcp,
                         .src_port = static_cast<std::uint16_t>(who == 0 ? 40000 : 21),
                         .dst_port = static_cast<std::uint16_t>(who == 0 ? 21 : 40000),
                         .tcp_flags = flags,
                         .sequence = from.sent,
                         .acknowledgment = to.shown,
                         .payload = {payload.begin(), payload.end()}};
    gateway_.put(from.side, wire::build_frame(spec));
    gateway_.turn();
    std::optional<Segment> whole;
    for (auto frame = gateway_.take(to.side); !frame.empty(); frame = gateway_.take(to.side)) {
      const auto part = read(frame);
      if (!part) continue;
      if (!whole) {
        require(part->sequence == from.shown, "the stream has no gap");
        if ((flags & wire::Tcp::kAck) != 0) {
          require(part->acknowledgment == to.sent, "what is acknowledged is the sender's number");
        }
        whole = *part;
      } else {
        whole->payload += part->payload;
      }
    }
    if (!whole) return std::nullopt;
    const std::uint32_t extra = (flags & wire::Tcp::kSyn) != 0 ? 1 : 0;
    from.sent += static_cast<std::uint32_t>(payload.size()) + extra;
    from.shown += static_cast<std::uint32_t>(whole->payload.size()) + extra;
    return whole;
  }

  MemoryGateway& gateway_;
  std::array<End, 2> ends_ = {End{Side::lan, 1000, 1000}, End{Side::wan, 5000, 5000}};
};

}  // namespace
}  // namespace weir::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::test;
  MemoryGateway& one = gateway();
  Conversation conversation(one);
  weir::Bytes input(data, size);
  while (const auto record = take_record(input)) {
    const std::size_t length = std::min(record->bytes.size(), kLongestPayload);
    if (length == 0) continue;
    conversation.say(record->control & 1, record->bytes.first(length), (record->control & 2) != 0);
  }
  one.forget();
  require(one.engine().conntrack().expectations().count() == 0, "nothing is left expected");
  return 0;
}
