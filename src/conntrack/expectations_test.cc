#include "conntrack/expectations.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conntrack/control.h"
#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart = Time(1000s);

wire::Address ip(std::string_view text) { return wire::parse_address(text)->address; }

class ExpectationsTest : public testing::Test {
 protected:
  void SetUp() override { start(kStart); }
  void TearDown() override {
    table_.reset();
    for (const int fd : fds_) close(fd);
  }

  void start(Time now) {
    table_.reset();
    auto table = Table::create(
        {.max = 100, .arena_fd = fds_[0], .extension_fd = fds_[1], .expectation_fd = fds_[2]}, now);
    ASSERT_TRUE(table) << table.error().text;
    table_ = std::move(*table);
    tracker().online();
    expectations().set_wanted(true);
  }
  Tracker& tracker() { return table_->tracker(0); }
  Expectations& expectations() { return table_->expectations(); }

  void track(TestPacket& packet, Time now = kStart) {
    packet.again();
    packet::Batch batch = batch_of(now, {&packet});
    packet::Batch later;
    tracker().track(batch, later);
  }
  /// A confirmed connection that may expect; its number.
  std::uint32_t begin(TestPacket& packet, Time now = kStart) {
    track(packet, now);
    EXPECT_TRUE(tracker().assign_helper(packet.ct.entry, 1));
    const std::uint32_t number = packet.ct.entry;
    EXPECT_EQ(tracker().confirm(packet, now), Confirmed::done);
    return number;
  }

  /// From anywhere on the server to the client's `port`.
  static ExpectationRequest request(std::uint16_t port) {
    ExpectationRequest wanted{.lifetime = 300s, .max_of_class = 1};
    Tuple& tuple = wanted.expected.tuple;
    tuple.family = wire::Family::ip;
    tuple.protocol = 17;
    tuple.src = ip("198.51.100.1");
    tuple.dst = ip("192.0.2.1");
    tuple.dst_port = Be16::from_host(port);
    wanted.expected.source_mask = all_of(tuple.family);
    return wanted;
  }
  static wire::FrameSpec answer(std::uint16_t port, std::uint16_t from = 3000) {
    return {.src = "198.51.100.1", .dst = "192.0.2.1", .src_port = from, .dst_port = port};
  }

  std::string told() {
    std::string text;
    while (const ExpectationEvent* event = expectations().events().front()) {
      text += event->is_destroyed ? '-' : '+';
      text += std::to_string(event->expectation.expected.tuple.dst_port.host());
      expectations().events().pop();
    }
    return text;
  }

  std::array<int, 3> fds_{memfd_create("a", 0), memfd_create("b", 0), memfd_create("c", 0)};
  std::unique_ptr<Table> table_;
  TestPacket request_{wire::FrameSpec{}};
};

TEST_F(ExpectationsTest, TheArrivalIsRelatedAndInheritsTheMark) {
  const std::uint32_t master = begin(request_);
  tracker().set_mark(request_, 7);
  ASSERT_EQ(tracker().expect(master, request(1000), kStart), Expectations::Added::done);
  EXPECT_EQ(expectations().count(), 1u);

  TestPacket other(answer(1001));
  track(other);
  EXPECT_EQ(other.ct.info, packet::CtInfo::is_new);
  tracker().discard(other);

  TestPacket arrival(answer(1000));
  track(arrival);
  EXPECT_EQ(arrival.ct.info, packet::CtInfo::related);
  EXPECT_EQ(expectations().count(), 0u);
  EXPECT_EQ(tracker().connection(arrival).mark(), 7u);
  tracker().confirm(arrival, kStart);
  const Snapshot shown = table_->snapshot(arrival.ct.entry, kStart).value();
  EXPECT_EQ(shown.status & status::kExpected, status::kExpected);
  EXPECT_EQ(shown.rare.master_tuple, tracker().entry(master).original());
  EXPECT_EQ(told(), "+1000-1000");

  // The next packet of it is RELATED until an answer has been seen.
  track(arrival);
  EXPECT_EQ(arrival.ct.info, packet::CtInfo::related);
  TestPacket reply(wire::FrameSpec{.src_port = 1000, .dst_port = 3000});
  track(reply);
  EXPECT_EQ(reply.ct.info, packet::CtInfo::established_reply);
}

TEST_F(ExpectationsTest, APermanentOneStaysAndAnInactiveOneLetsNothingIn) {
  const std::uint32_t master = begin(request_);
  ExpectationRequest permanent = request(1000);
  permanent.flags = expect_flag::kPermanent;
  permanent.max_of_class = 0;
  tracker().expect(master, permanent, kStart);
  ExpectationRequest inactive = request(1001);
  inactive.flags = expect_flag::kInactive;
  inactive.max_of_class = 0;
  tracker().expect(master, inactive, kStart);
  for (const std::uint16_t from : {3000, 3001}) {
    TestPacket arrival(answer(1000, from));
    track(arrival);
    EXPECT_EQ(arrival.ct.info, packet::CtInfo::related);
    tracker().confirm(arrival, kStart);
  }
  TestPacket refused(answer(1001));
  track(refused);
  EXPECT_EQ(refused.ct.info, packet::CtInfo::is_new);
}

TEST_F(ExpectationsTest, AMasterThatNobodyHasSeenLetsNothingIn) {
  track(request_);
  ASSERT_TRUE(tracker().assign_helper(request_.ct.entry, 1));
  tracker().expect(request_.ct.entry, request(1000), kStart);
  TestPacket arrival(answer(1000));
  track(arrival);
  EXPECT_EQ(arrival.ct.info, packet::CtInfo::is_new);
  tracker().discard(arrival);
  EXPECT_EQ(expectations().count(), 1u);
  tracker().discard(request_);
  EXPECT_EQ(expectations().count(), 0u);
}

TEST_F(ExpectationsTest, GoesWithItsMasterAndAtItsTime) {
  const std::uint32_t master = begin(request_);
  tracker().expect(master, request(1000), kStart);
  tracker().remove(master, kStart);
  EXPECT_EQ(expectations().count(), 0u);
  EXPECT_EQ(told(), "+1000-1000");
  EXPECT_EQ(tracker().expect(master, request(1000), kStart), Expectations::Added::no_master);

  TestPacket second(wire::FrameSpec{.src_port = 1001});
  ExpectationRequest brief = request(1000);
  brief.lifetime = 5s;
  tracker().expect(begin(second), brief, kStart);
  EXPECT_LE(tracker().next_deadline(), kStart + 6s);
  TestPacket late(answer(1000));
  track(late, kStart + 5s);
  EXPECT_EQ(late.ct.info, packet::CtInfo::is_new);
  tracker().discard(late);
  tracker().expire(kStart + 6s);
  EXPECT_EQ(expectations().count(), 0u);
}

TEST_F(ExpectationsTest, TheSameIsMadeAnewAndAnotherClashes) {
  const std::uint32_t master = begin(request_);
  TestPacket second(wire::FrameSpec{.src_port = 1001});
  const std::uint32_t other = begin(second);
  tracker().expect(master, request(1000), kStart);
  EXPECT_EQ(tracker().expect(master, request(1000), kStart), Expectations::Added::done);
  EXPECT_EQ(told(), "+1000-1000+1000");
  EXPECT_EQ(tracker().expect(other, request(1000), kStart), Expectations::Added::clash);
  ExpectationRequest wider = request(1000);
  wider.expected.source_mask = {};
  EXPECT_EQ(tracker().expect(other, wider, kStart), Expectations::Added::clash);
  ExpectationRequest elsewhere = request(1000);
  elsewhere.class_number = 1;
  EXPECT_EQ(tracker().expect(master, elsewhere, kStart), Expectations::Added::elsewhere);
}

TEST_F(ExpectationsTest, TheOldestOfAClassMakesRoom) {
  const std::uint32_t master = begin(request_);
  for (const std::uint16_t port : {1, 2, 3}) {
    ExpectationRequest wanted = request(port);
    wanted.max_of_class = 2;
    EXPECT_EQ(tracker().expect(master, wanted, kStart), Expectations::Added::done);
  }
  EXPECT_EQ(told(), "+1+2-1+3");
  ExpectationRequest last = request(4);
  last.max_of_class = 0;
  last.most_of_class = 2;
  EXPECT_EQ(tracker().expect(master, last, kStart), Expectations::Added::class_full);
  table_->sysctl().expect_max.set(2);
  last.most_of_class = 0;
  EXPECT_EQ(tracker().expect(master, last, kStart), Expectations::Added::full);
}

TEST_F(ExpectationsTest, SurvivesARestartWithItsMaster) {
  const std::uint32_t master = begin(request_);
  tracker().expect(master, request(1000), kStart);
  TestPacket gone(wire::FrameSpec{.src_port = 1001});
  tracker().expect(begin(gone), request(1001), kStart);
  tracker().remove(gone.ct.entry, kStart);

  start(kStart + 10s);
  EXPECT_EQ(expectations().count(), 1u);
  TestPacket arrival(answer(1000));
  track(arrival, kStart + 10s);
  EXPECT_EQ(arrival.ct.info, packet::CtInfo::related);
  EXPECT_EQ(expectations().count(), 0u);
  EXPECT_EQ(tracker().extension(master)->helper, 1);
}

TEST_F(ExpectationsTest, APacketBehindOneThatMayExpectItWaits) {
  begin(request_);
  TestPacket arrival(answer(1000));
  request_.again();
  packet::Batch batch = batch_of(kStart, {&request_, &arrival});
  packet::Batch later;
  tracker().track(batch, later);
  ASSERT_EQ(later.size(), 1u);
  EXPECT_EQ(later[0], &arrival);
}

}  // namespace
}  // namespace weir::conntrack
