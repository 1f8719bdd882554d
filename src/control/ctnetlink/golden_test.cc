#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"
#include "control/ctnetlink/attributes.h"
#include "control/ctnetlink/ctnetlink.h"
#include "control/ctnetlink/events.h"
#include "control/ctnetlink/filter.h"
#include "control/recording.h"
#include "netlink/message.h"

/// What we send against what Linux sends (tests/golden/ctnetlink.txt, and the conversation of
/// tests/golden/flows.txt).
namespace weir::control::ctnetlink {
namespace {

using conntrack::Snapshot;
using conntrack::Tuple;
using netlink::Buffer;

constexpr Time kNow = Time(std::chrono::hours(9));

Buffer golden(const std::string& name) {
  static const auto messages = [] {
    const std::string here = __FILE__;
    const std::string root = here.substr(0, here.rfind("/src/"));
    std::ifstream file(root + "/tests/golden/ctnetlink.txt");
    std::map<std::string, std::string> lines;
    for (std::string key, hex; file >> key;) {
      if (key == "#") {
        std::getline(file, hex);
      } else if (file >> hex) {
        lines[key] = hex;
      }
    }
    return lines;
  }();
  Buffer bytes;
  const auto found = messages.find(name);
  if (found == messages.end()) return bytes;
  for (std::size_t i = 0; i + 1 < found->second.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(found->second.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

/// What differs from one capture to the next: ids, times, port ids.
struct Chance {
  std::uint32_t id;
  std::uint32_t timeout;
  Duration start, stop, event;
  nlmsghdr header;
};

Chance chance_of(const Buffer& message) {
  constexpr netlink::Rule rules[] = {
      {.type = CTA_ID}, {.type = CTA_TIMEOUT}, {.type = CTA_TIMESTAMP}, {.type = 27}};
  constexpr netlink::Rule times[] = {{.type = CTA_TIMESTAMP_START}, {.type = CTA_TIMESTAMP_STOP}};
  Bytes rest(message);
  const auto whole = *netlink::Message::take(rest);
  const auto attributes = *netlink::Attributes::parse(whole.attributes(), rules);
  const auto stamps = *netlink::Attributes::parse(attributes.nested(CTA_TIMESTAMP), times);
  const auto duration = [](Be64 value) {
    return Duration(static_cast<std::int64_t>(value.host()));
  };
  return {.id = attributes.be32(CTA_ID).raw,
          .timeout = attributes.be32(CTA_TIMEOUT).host(),
          .start = duration(stamps.be64(CTA_TIMESTAMP_START)),
          .stop = duration(stamps.be64(CTA_TIMESTAMP_STOP)),
          .event = duration(attributes.be64(27)),
          .header = whole.header()};
}

Tuple tuple_of(std::uint8_t protocol, std::uint16_t source, std::uint16_t destination) {
  return {.src = wire::Address::ip(0x7f000001u),
          .dst = wire::Address::ip(0x7f000001u),
          .src_port = Be16::from_host(source),
          .dst_port = Be16::from_host(destination),
          .family = wire::Family::ip,
          .protocol = protocol};
}

Snapshot snapshot(const Tuple& original, const Tuple& reply, std::uint32_t status,
                  const std::array<conntrack::Traffic, 2>& traffic) {
  Snapshot connection;
  connection.original = original;
  connection.reply = reply;
  connection.status = status;
  connection.traffic = traffic;
  return connection;
}

Snapshot udp(std::uint16_t source, std::uint16_t destination, std::uint32_t status,
             const std::array<conntrack::Traffic, 2>& traffic) {
  return snapshot(tuple_of(IPPROTO_UDP, source, destination),
                  tuple_of(IPPROTO_UDP, destination, source), status, traffic);
}

Snapshot ping() {
  return snapshot(tuple_of(IPPROTO_ICMP, 0x2f61, 8 << 8), tuple_of(IPPROTO_ICMP, 0x2f61, 0), 0xa,
                  {{{1, 84}, {1, 84}}});
}

Snapshot tcp6(std::uint32_t status, conntrack::TcpPhase phase) {
  const wire::Address loopback = wire::parse_address("::1")->address;
  Tuple original = tuple_of(IPPROTO_TCP, 5001, 5000);
  original.family = wire::Family::ip6;
  original.src = original.dst = loopback;
  Tuple reply = original;
  std::swap(reply.src_port, reply.dst_port);
  Snapshot connection = snapshot(original, reply, status, {{{2, 152}, {1, 80}}});
  connection.tcp.phase = phase;
  connection.tcp.scales = {10, 10};
  connection.tcp.flags = {0x23, 0x23};
  return connection;
}

constexpr std::array<conntrack::Traffic, 2> kOneEach{{{1, 29}, {1, 29}}};
constexpr std::array<conntrack::Traffic, 2> kOneOnly{{{1, 29}, {0, 0}}};
constexpr std::array<conntrack::Traffic, 2> kNone{};

void take_chance(Snapshot& connection, const Chance& chance) {
  connection.id = chance.id;
  connection.deadline = kNow + std::chrono::seconds(chance.timeout) + std::chrono::milliseconds(9);
  connection.start = chance.start;
  connection.stop = chance.stop;
}

void begin(netlink::Writer& out, const Snapshot& connection, const Chance& chance) {
  out.begin({.type = chance.header.nlmsg_type,
             .flags = chance.header.nlmsg_flags,
             .sequence = chance.header.nlmsg_seq,
             .port_id = chance.header.nlmsg_pid,
             .family = static_cast<std::uint8_t>(connection.original.family)});
}

void expect_dump(const std::string& name, Snapshot connection, std::uint32_t references = 1) {
  const Buffer expected = golden(name);
  ASSERT_FALSE(expected.empty()) << name;
  const Chance chance = chance_of(expected);
  take_chance(connection, chance);
  Buffer written;
  netlink::Writer out(written);
  begin(out, connection, chance);
  write_connection(out, connection, kNow, references);
  out.end();
  EXPECT_EQ(written, expected) << name;
}

void expect_event(const std::string& name, Snapshot connection, std::uint32_t bits) {
  const Buffer expected = golden(name);
  ASSERT_FALSE(expected.empty()) << name;
  const Chance chance = chance_of(expected);
  take_chance(connection, chance);
  Buffer written;
  netlink::Writer out(written);
  begin(out, connection, chance);
  write_event(out, connection, bits, kNow, chance.event);
  out.end();
  EXPECT_EQ(written, expected) << name;
}

TEST(CtnetlinkGolden, DumpsAreTheKernels) {
  expect_dump("dump-1", ping());
  expect_dump("dump-2", udp(4001, 4000, 0xa, kOneEach));
  expect_dump("dump-3", udp(4003, 4009, 0x8, kOneOnly));
  expect_dump("dump-4", tcp6(0xe, conntrack::TcpPhase::established));
  expect_dump("get-1", udp(4001, 4000, 0xa, kOneEach), 2);
}

TEST(CtnetlinkGolden, NatMarksAndZonesAreTheKernels) {
  Snapshot translated = udp(7004, 6004, 0x1a8, kOneOnly);
  translated.reply.src_port = Be16::from_host(6005);
  expect_dump("dump-6", translated);
  Snapshot zone_of_original = udp(7003, 6003, 0x188, kOneOnly);
  zone_of_original.original.zone = 6;
  expect_dump("dump-7", zone_of_original);
  Snapshot marked = udp(7001, 6001, 0x188, kOneOnly);
  marked.mark = 9;
  expect_dump("dump-8", marked);
  Snapshot zone = udp(7002, 6002, 0x188, kOneOnly);
  zone.original.zone = zone.reply.zone = 5;
  expect_dump("dump-9", zone);
}

TEST(CtnetlinkGolden, EventsAreTheKernels) {
  using namespace conntrack::event;
  expect_event("event-udp-new-1", udp(4001, 4000, 0x8, kOneOnly), kNew);
  expect_event("event-udp-reply-1", udp(4001, 4000, 0xa, kOneEach), kReply);
  Snapshot syn = tcp6(0x8, conntrack::TcpPhase::syn_sent);
  syn.tcp.scales = {10, 0};
  syn.tcp.flags = {0x03, 0};
  expect_event("event-tcp6-connect-1", syn, kNew | kProtoInfo);
  expect_event("event-tcp6-connect-3", tcp6(0xe, conntrack::TcpPhase::established),
               kAssured | kProtoInfo);
  Snapshot marked = udp(7001, 6001, 0x188, kOneOnly);
  marked.mark = 9;
  expect_event("event-mark-set-new-1", marked, kNew | kMark);
  expect_event("event-delete-1", udp(4001, 4000, 0x20a, kNone), kDestroy);
  expect_event("event-flush-3", tcp6(0x20e, conntrack::TcpPhase::established), kDestroy);
}

/// A table behind a server, with two workers as the machine that was recorded had processors.
class RecordedFlows : public ::testing::Test {
 protected:
  RecordedFlows()
      : table_(std::move(*conntrack::Table::create({.max = 262144, .workers = 2}, kNow))),
        thread_({.socket_path = path()}),
        ctnetlink_(*table_, table_->control_participant(0), [] { return kNow; }),
        events_(*table_, thread_.server(), [] { return kNow; }) {
    thread_.server().add(ctnetlink_);
    tracker().online();
    table_->set_waker(
        [](void* self, std::uint32_t) {
          static_cast<RecordedFlows*>(self)->tracker().serve_mailbox(kNow);
        },
        this);
    thread_.start();
  }
  ~RecordedFlows() override { thread_.stop(); }

  std::string path() const { return directory_.file("socket"); }
  conntrack::Tracker& tracker() { return table_->tracker(0); }

  void act(const std::string& what) {
    thread_.post([&] {
      if (what.starts_with("pass ")) pass(static_cast<std::uint16_t>(std::stoul(what.substr(5))));
      while (events_.publish(100)) {
      }
    });
  }
  /// One byte from 127.0.0.1:`port` to port 2000.
  void pass(std::uint16_t port) {
    conntrack::TestPacket packet{wire::FrameSpec{
        .src = "127.0.0.1", .dst = "127.0.0.1", .src_port = port, .payload = {'x'}}};
    packet::Batch batch = conntrack::batch_of(kNow, {&packet});
    packet::Batch later;
    tracker().track(batch, later);
    ASSERT_EQ(tracker().confirm(packet, kNow), conntrack::Confirmed::done);
  }

  testing::TemporaryDirectory directory_;
  std::unique_ptr<conntrack::Table> table_;
  testing::ServerThread thread_;
  Ctnetlink ctnetlink_;
  ConnectionEvents events_;
};

TEST_F(RecordedFlows, AreAnsweredAsTheKernelDid) {
  const std::size_t compared = testing::replay(testing::read_recording("flows.txt"), path(),
                                               [this](const std::string& what) { act(what); });
  EXPECT_GT(compared, 30u);
}

Result<Filter> filter_of(const Buffer& message, std::uint8_t family) {
  Bytes rest(message);
  const auto attributes = parse_request(*netlink::Message::take(rest));
  if (!attributes) return std::unexpected(attributes.error());
  return Filter::read(*attributes, family);
}

TEST(CtnetlinkFilter, ComparesWhatItNames) {
  Snapshot connection = udp(1000, 53, 0xe, kOneEach);
  connection.mark = 0x17;
  struct Case {
    const char* what;
    std::uint8_t family;
    std::vector<std::pair<std::uint16_t, std::uint32_t>> numbers;
    bool matches;
  };
  constexpr std::uint16_t status_mask = 26;
  const Case cases[] = {
      {"nothing", 0, {}, true},
      {"family", AF_INET, {}, true},
      {"other family", AF_INET6, {}, false},
      {"mark", 0, {{CTA_MARK, 0x17}}, true},
      {"other mark", 0, {{CTA_MARK, 0x16}}, false},
      {"masked mark", 0, {{CTA_MARK, 0x10}, {CTA_MARK_MASK, 0xf0}}, true},
      {"status bit", 0, {{CTA_STATUS, 4}}, true},
      {"status bit absent", 0, {{CTA_STATUS, 16}}, false},
      {"status bit must be clear", 0, {{CTA_STATUS, 0}, {status_mask, 4}}, false},
  };
  for (const Case& c : cases) {
    Buffer message;
    netlink::Writer out(message);
    out.begin({});
    for (const auto& [type, value] : c.numbers) out.put_be32(type, value);
    out.end();
    const auto filter = filter_of(message, c.family);
    ASSERT_TRUE(filter) << c.what;
    EXPECT_EQ(filter->matches(connection), c.matches) << c.what;
  }
}

TEST(CtnetlinkFilter, ReadsTheTuplesThatItWrites) {
  for (const Snapshot& connection :
       {udp(1000, 53, 8, kNone), ping(), tcp6(8, conntrack::TcpPhase::established)}) {
    Buffer message;
    netlink::Writer out(message);
    out.begin({});
    write_tuples(out, connection);
    out.end();
    Bytes rest(message);
    const auto attributes = *parse_request(*netlink::Message::take(rest));
    const auto family = static_cast<std::uint8_t>(connection.original.family);
    const auto tuple = read_tuple(attributes.find(CTA_TUPLE_ORIG), family, nullptr);
    ASSERT_TRUE(tuple) << tuple.error().text;
    EXPECT_EQ(*tuple, connection.original);
  }
}

TEST(CtnetlinkFilter, RefusesTuplesWithHoles) {
  Buffer message;
  netlink::Writer out(message);
  out.begin({});
  {
    const auto tuple = out.nest(CTA_TUPLE_ORIG);
    const auto protocol = out.nest(CTA_TUPLE_PROTO);
    out.put_u8(CTA_PROTO_NUM, IPPROTO_UDP);
  }
  out.end();
  Bytes rest(message);
  const auto attributes = *parse_request(*netlink::Message::take(rest));
  const auto attribute = attributes.find(CTA_TUPLE_ORIG);
  const auto tuple = read_tuple(attribute, AF_INET, nullptr);
  ASSERT_FALSE(tuple);
  EXPECT_EQ(tuple.error().code, EINVAL);
  EXPECT_EQ(tuple.error().missing, CTA_TUPLE_IP);
  EXPECT_EQ(tuple.error().offset, 20u) << "CTA_TUPLE_ORIG";
  EXPECT_EQ(read_tuple(attribute, AF_INET, nullptr, kProtocol | kSourcePort).error().missing,
            CTA_PROTO_SRC_PORT);
  EXPECT_EQ(read_tuple(attribute, 1, nullptr).error().code, EOPNOTSUPP);
}

}  // namespace
}  // namespace weir::control::ctnetlink
