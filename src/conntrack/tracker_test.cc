#include "conntrack/tracker.h"

#include <gtest/gtest.h>

#include "conntrack/control.h"
#include "conntrack/invert.h"
#include "conntrack/test_packet.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;
using packet::CtInfo;
using packet::CtState;
using packet::Drop;

constexpr Time kStart = Time(1000s);

class TrackerTest : public testing::Test {
 protected:
  void make(const TableOptions& options = {.max = 1000}) {
    table_ = std::move(*Table::create(options, now_));
    tracker_ = &table_->tracker(0);
    control_ = std::make_unique<Control>(*table_, table_->control_participant(0));
    table_->set_waker([](void* self, std::uint32_t) { static_cast<TrackerTest*>(self)->serve(); },
                      this);
    tracker_->online();
  }
  void SetUp() override { make(); }
  void serve() { tracker_->serve_mailbox(now_); }

  /// Tracks one packet; the connection is published.
  packet::Packet& pass(TestPacket& packet) {
    track(packet);
    EXPECT_EQ(tracker_->confirm(packet, now_), Confirmed::done);
    return packet;
  }
  packet::Packet& track(TestPacket& packet) {
    packet.again();
    packet::Batch batch = batch_of(now_, {&packet});
    packet::Batch later;
    tracker_->track(batch, later);
    EXPECT_TRUE(later.is_empty());
    return packet;
  }
  void between_batches() {
    tracker_->expire(now_);
    tracker_->quiet();
  }
  void advance(Duration by) { now_ += by; }
  Snapshot shown(const packet::Packet& packet) {
    return table_->snapshot(packet.ct.entry, now_).value();
  }

  Time now_ = kStart;
  std::unique_ptr<Table> table_;
  Tracker* tracker_ = nullptr;
  std::unique_ptr<Control> control_;
  TestPacket request_{wire::FrameSpec{}};
  TestPacket answer_{wire::FrameSpec{
      .src = "198.51.100.1", .dst = "192.0.2.1", .src_port = 2000, .dst_port = 1000}};
};

TEST_F(TrackerTest, UdpFlowFromNewToAssured) {
  pass(request_);
  EXPECT_EQ(request_.ct.info, CtInfo::is_new);
  EXPECT_EQ(shown(request_).expires_in(now_), 30s);

  pass(answer_);
  EXPECT_EQ(answer_.ct.info, CtInfo::established_reply);
  EXPECT_EQ(answer_.ct.entry, request_.ct.entry);
  EXPECT_EQ(shown(answer_).status, status::kConfirmed | status::kSeenReply);

  advance(3s);
  pass(request_);
  EXPECT_EQ(request_.ct.info, CtInfo::established);
  const Snapshot stream = shown(request_);
  EXPECT_EQ(stream.expires_in(now_), 120s);
  EXPECT_EQ(stream.status, status::kConfirmed | status::kSeenReply | status::kAssured);
  EXPECT_EQ(stream.traffic[0].packets, 2u);
  EXPECT_EQ(stream.traffic[0].bytes, 2u * 28);
  EXPECT_EQ(stream.traffic[1].packets, 1u);
}

TEST_F(TrackerTest, NobodySeesAnEntryBeforeItsFirstPacketIsThrough) {
  track(request_);
  const Tuple tuple = tracker_->connection(request_).original();
  EXPECT_FALSE(control_->find(tuple, now_));
  EXPECT_EQ(table_->count(), 1u);
  tracker_->confirm(request_, now_);
  EXPECT_TRUE(control_->find(tuple, now_));
  EXPECT_TRUE(control_->find(*invert(tuple), now_));
}

TEST_F(TrackerTest, DroppedPacketLeavesNothing) {
  track(request_);
  const Tuple tuple = tracker_->connection(request_).original();
  tracker_->discard(request_);
  EXPECT_EQ(table_->count(), 0u);
  EXPECT_EQ(request_.ct.entry, 0u);
  EXPECT_FALSE(control_->find(tuple, now_));
  EXPECT_EQ(track(request_).ct.info, CtInfo::is_new);
}

TEST_F(TrackerTest, ExpiredMeansAbsentAtOnce) {
  pass(request_);
  const std::uint32_t first = request_.ct.entry;
  const Tuple tuple = tracker_->connection(request_).original();
  advance(30s - 1ns);
  EXPECT_TRUE(control_->find(tuple, now_));
  advance(1ns);
  EXPECT_FALSE(control_->find(tuple, now_));
  EXPECT_FALSE(table_->snapshot(first, now_));
  EXPECT_EQ(track(answer_).ct.info, CtInfo::is_new);  // An answer to nothing that lives.
}

TEST_F(TrackerTest, TheWheelTakesAwayWhatExpired) {
  pass(request_);
  EXPECT_GT(tracker_->next_deadline(), now_ + 29s);
  EXPECT_LT(tracker_->next_deadline(), now_ + 31s);
  advance(20s);
  pass(request_);  // Moves the deadline; the wheel learns it when it fires.
  advance(20s);
  between_batches();
  EXPECT_EQ(table_->count(), 1u);
  advance(11s);
  between_batches();
  EXPECT_EQ(table_->count(), 0u);
  EXPECT_EQ(tracker_->next_deadline(), Time::max());
}

TEST_F(TrackerTest, NumbersAreUsedAgainAfterAnEpochWithAnotherId) {
  pass(request_);
  const Snapshot first = shown(request_);
  ASSERT_TRUE(control_->remove(first));
  EXPECT_FALSE(control_->remove(first));
  between_batches();
  between_batches();
  pass(request_);
  const Snapshot second = shown(request_);
  EXPECT_EQ(second.number, first.number);
  EXPECT_NE(second.id, first.id);
  EXPECT_FALSE(control_->remove(first));  // An old id does not delete the new life.
  EXPECT_EQ(table_->count(), 1u);
}

TEST_F(TrackerTest, ControlZeroesCounters) {
  pass(request_);
  pass(request_);
  const auto before = control_->zero_counters(shown(request_));
  ASSERT_TRUE(before);
  EXPECT_EQ(before->traffic[0].packets, 2u);
  EXPECT_EQ(shown(request_).traffic[0].packets, 0u);
}

TEST_F(TrackerTest, ControlZeroesManyAtOnce) {
  std::vector<Snapshot> connections;
  for (std::uint16_t port = 1; port <= 3000; ++port) {  // More than a mailbox holds.
    if (port == 1) make({.max = 4000});
    TestPacket packet(wire::FrameSpec{.src_port = port});
    pass(packet);
    connections.push_back(shown(packet));
  }
  pass(request_);  // Port 1000 once more.
  ASSERT_TRUE(control_->remove(connections[7]));
  control_->zero_counters(connections);
  ASSERT_EQ(connections.size(), 2999u) << "one had gone";
  for (const Snapshot& before : connections) {
    const std::uint16_t port = before.original.src_port.host();
    EXPECT_NE(port, 8);
    EXPECT_EQ(before.traffic[0].packets, port == 1000 ? 2u : 1u);
    EXPECT_EQ(table_->snapshot(before.number, now_)->traffic[0].packets, 0u);
  }
}

TEST_F(TrackerTest, FlushAndDumpInSteps) {
  for (std::uint16_t port = 1; port <= 50; ++port) {
    TestPacket packet(wire::FrameSpec{.src_port = port});
    pass(packet);
  }
  Control::Cursor cursor;
  int shown = 0, steps = 0;
  while (control_->dump(cursor, 7, now_, [&](const Snapshot&) { return ++shown, true; })) ++steps;
  EXPECT_EQ(shown, 50);
  EXPECT_GE(steps, 7);
  EXPECT_EQ(
      control_->flush(now_, 0, [](const Snapshot& s) { return s.original.src_port.host() > 10; }),
      40u);
  EXPECT_EQ(table_->count(), 10u);
}

TEST_F(TrackerTest, InTheSameBatchAnswerAndSuccessorWait) {
  TestPacket second{wire::FrameSpec{}};
  TestPacket other{wire::FrameSpec{.dst = "198.51.100.9", .src_port = 7}};
  packet::Batch batch = batch_of(now_, {&request_, &second, &answer_, &other});
  packet::Batch later;
  tracker_->track(batch, later);
  ASSERT_EQ(batch.size(), 2u);
  ASSERT_EQ(later.size(), 2u);
  EXPECT_EQ(later[0], &second);
  EXPECT_EQ(later[1], &answer_);
  for (packet::Packet* const packet : batch) tracker_->confirm(*packet, now_);
  packet::Batch none;
  later.now = now_;
  tracker_->track(later, none);
  EXPECT_TRUE(none.is_empty());
  EXPECT_EQ(second.ct.entry, request_.ct.entry);
  EXPECT_EQ(answer_.ct.info, CtInfo::established_reply);
}

TEST_F(TrackerTest, TheAnswerToATranslatedFlowWaitsToo) {
  // The destination of the first is the source of the second, whatever SNAT makes of the other end.
  TestPacket answer{wire::FrameSpec{
      .src = "198.51.100.1", .dst = "203.0.113.9", .src_port = 2000, .dst_port = 61000}};
  packet::Batch batch = batch_of(now_, {&request_, &answer});
  packet::Batch later;
  tracker_->track(batch, later);
  EXPECT_EQ(later.size(), 1u);
}

TEST_F(TrackerTest, LoserOfARaceGetsTheWinnersEntry) {
  TestPacket rival{wire::FrameSpec{}};
  track(request_);
  track(rival);
  ASSERT_NE(rival.ct.entry, request_.ct.entry);
  EXPECT_EQ(tracker_->confirm(request_, now_), Confirmed::done);
  EXPECT_EQ(tracker_->confirm(rival, now_), Confirmed::lost_race);
  EXPECT_EQ(rival.ct.entry, request_.ct.entry);
  EXPECT_EQ(rival.ct.info, CtInfo::is_new);
  EXPECT_EQ(shown(request_).traffic[0].packets, 2u);
  EXPECT_EQ(table_->count(), 1u);
  EXPECT_EQ(table_->statistics(0).clash_resolve, 1u);
}

TEST_F(TrackerTest, TheOtherDirectionLosesTheRaceAsAReply) {
  track(request_);
  track(answer_);
  EXPECT_EQ(tracker_->confirm(request_, now_), Confirmed::done);
  EXPECT_EQ(tracker_->confirm(answer_, now_), Confirmed::lost_race);
  EXPECT_EQ(answer_.ct.info, CtInfo::established_reply);
}

TEST_F(TrackerTest, AReservedReplyIsNobodyElses) {
  track(request_);
  Tuple reply = tracker_->connection(request_).reply();
  reply.dst_port = Be16::from_host(61000);
  ASSERT_TRUE(tracker_->reserve_reply(request_.ct.entry, reply, now_));

  TestPacket other{wire::FrameSpec{.src_port = 7}};
  track(other);
  EXPECT_FALSE(tracker_->reserve_reply(other.ct.entry, reply, now_));
  EXPECT_TRUE(tracker_->is_taken(reply, other.ct.entry, now_));
  EXPECT_FALSE(tracker_->is_taken(reply, request_.ct.entry, now_));
  EXPECT_EQ(table_->statistics(0).found, 2u);

  tracker_->discard(request_);
  EXPECT_TRUE(tracker_->reserve_reply(other.ct.entry, reply, now_));
  EXPECT_EQ(tracker_->confirm(other, now_), Confirmed::done);
  TestPacket answer{wire::FrameSpec{
      .src = "198.51.100.1", .dst = "192.0.2.1", .src_port = 2000, .dst_port = 61000}};
  EXPECT_EQ(pass(answer).ct.info, CtInfo::established_reply);
}

TEST_F(TrackerTest, ASecondReservationReplacesTheFirst) {
  track(request_);
  Tuple first = tracker_->connection(request_).reply();
  first.dst_port = Be16::from_host(61000);
  Tuple second = first;
  second.dst_port = Be16::from_host(61001);
  ASSERT_TRUE(tracker_->reserve_reply(request_.ct.entry, first, now_));
  ASSERT_TRUE(tracker_->reserve_reply(request_.ct.entry, second, now_));
  EXPECT_FALSE(tracker_->is_taken(first, 0, now_));
  EXPECT_TRUE(tracker_->is_taken(second, 0, now_));
}

TEST_F(TrackerTest, AnUnreservedReplyThatIsTakenIsToldSo) {
  track(request_);
  TestPacket other{wire::FrameSpec{.src = "192.0.2.77"}};
  track(other);
  ASSERT_TRUE(
      tracker_->reserve_reply(other.ct.entry, tracker_->connection(request_).reply(), now_));
  EXPECT_EQ(tracker_->confirm(request_, now_), Confirmed::reply_taken);
  EXPECT_EQ(tracker_->confirm(other, now_), Confirmed::done);
}

TEST_F(TrackerTest, WhenFullTheUnassuredEntryThatExpiresFirstGoes) {
  make({.max = 3});
  TestPacket first{wire::FrameSpec{.src_port = 1}}, second{wire::FrameSpec{.src_port = 2}},
      third{wire::FrameSpec{.src_port = 3}}, fourth{wire::FrameSpec{.src_port = 4}};
  pass(first);
  advance(1s);
  pass(second);
  pass(third);
  pass(fourth);
  EXPECT_EQ(table_->count(), 3u);
  EXPECT_FALSE(table_->snapshot(first.ct.entry, now_));
  EXPECT_TRUE(table_->snapshot(second.ct.entry, now_));
  EXPECT_EQ(table_->statistics(0).early_drop, 1u);
}

TEST_F(TrackerTest, AssuredEntriesAreNeverEvicted) {
  make({.max = 1});
  pass(request_);
  pass(answer_);
  advance(3s);
  pass(request_);
  TestPacket other{wire::FrameSpec{.src_port = 7}};
  track(other);
  EXPECT_EQ(other.drop, Drop::conntrack_table_full);
  EXPECT_EQ(other.ct.entry, 0u);
  EXPECT_TRUE(table_->snapshot(request_.ct.entry, now_));
  EXPECT_EQ(table_->statistics(0).refused, 1u);
  EXPECT_EQ(table_->statistics(0).drop, 1u);
}

TEST_F(TrackerTest, UntrackedIsLeftAlone) {
  request_.again();
  request_.ct.state = CtState::untracked;
  packet::Batch batch = batch_of(now_, {&request_});
  packet::Batch later;
  tracker_->track(batch, later);
  EXPECT_EQ(request_.ct.entry, 0u);
  EXPECT_EQ(table_->count(), 0u);
}

TEST_F(TrackerTest, ZonesKeepEqualTuplesApart) {
  pass(request_);
  TestPacket other{wire::FrameSpec{}};
  other.again();
  other.ct.zone = 5;
  packet::Batch batch = batch_of(now_, {&other});
  packet::Batch later;
  tracker_->track(batch, later);
  EXPECT_EQ(other.ct.info, CtInfo::is_new);
  EXPECT_EQ(tracker_->confirm(other, now_), Confirmed::done);
  EXPECT_NE(other.ct.entry, request_.ct.entry);
}

TEST_F(TrackerTest, EventsComeInOrderWithTheStateAfterwards) {
  table_->set_wanted_events(~0u);
  pass(request_);
  pass(answer_);
  tracker_->set_mark(track(request_), 9);
  tracker_->confirm(request_, now_);
  control_->remove(shown(request_), 77);

  EventReader reader({&tracker_->events()}, table_->arena().capacity() + 1);
  std::vector<Event> events;
  reader.read(100, [&](const Event& event) { events.push_back(event); });
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].bits, event::kNew);
  EXPECT_EQ(events[1].bits, event::kReply);
  EXPECT_EQ(events[2].bits, event::kMark);
  EXPECT_EQ(events[2].connection.mark, 9u);
  EXPECT_EQ(events[3].bits, event::kDestroy);
  EXPECT_EQ(events[3].port_id, 77u);
  EXPECT_EQ(events[3].connection.traffic[0].packets, 2u);
}

TEST_F(TrackerTest, NoListenerNoEvents) {
  pass(request_);
  EXPECT_EQ(tracker_->events().front(), nullptr);
}

TEST_F(TrackerTest, ALostEventIsCountedAndLeavesNoGap) {
  make({.max = 1000, .event_ring = 2});
  table_->set_wanted_events(~0u);
  pass(request_);
  pass(answer_);
  tracker_->set_mark(track(request_), 9);
  tracker_->confirm(request_, now_);
  EXPECT_EQ(table_->statistics(0).events_lost, 1u);
  EventReader reader({&tracker_->events()}, table_->arena().capacity() + 1);
  std::vector<std::uint32_t> bits;
  const auto read = [&] { reader.read(100, [&](const Event& e) { bits.push_back(e.bits); }); };
  read();
  control_->remove(shown(request_));
  read();
  EXPECT_EQ(bits, (std::vector<std::uint32_t>{event::kNew, event::kReply, event::kDestroy}));
}

TEST(EventReaderTest, HoldsAnEventBackUntilItsPredecessorIsThere) {
  EventRing one(4), two(4);
  EventReader reader({&one, &two}, 10);
  const auto put = [](EventRing& ring, std::uint32_t sequence) {
    ring.next() = {};
    ring.next().sequence = sequence;
    ring.next().connection.number = 3;
    ring.publish();
  };
  std::vector<std::uint32_t> order;
  const auto read = [&] { reader.read(10, [&](const Event& e) { order.push_back(e.sequence); }); };
  put(one, 2);
  put(one, 3);
  read();
  EXPECT_TRUE(order.empty());
  put(two, 1);
  read();
  EXPECT_EQ(order, (std::vector<std::uint32_t>{1, 2, 3}));
}

/// A TCP segment of one connection, from its client or its server.
TestPacket segment(bool from_client, std::uint8_t flags, std::uint32_t sequence,
                   std::uint32_t acknowledgment) {
  wire::FrameSpec spec{
      .protocol = 6, .tcp_flags = flags, .sequence = sequence, .acknowledgment = acknowledgment};
  if (!from_client) {
    std::swap(spec.src, spec.dst);
    std::swap(spec.src_port, spec.dst_port);
  }
  return TestPacket(spec);
}

TEST_F(TrackerTest, AConnectionOfDaysThatIsResetGoesWithItsNewTimeout) {
  using wire::Tcp;
  TestPacket syn = segment(true, Tcp::kSyn, 100, 0);
  TestPacket syn_ack = segment(false, Tcp::kSyn | Tcp::kAck, 500, 101);
  TestPacket ack = segment(true, Tcp::kAck, 101, 501);
  for (TestPacket* packet : {&syn, &syn_ack, &ack}) pass(*packet);
  advance(200s);
  between_batches();  // The slot of the handshake's timeout fires: now it hangs days ahead.
  ASSERT_EQ(table_->count(), 1u);
  ASSERT_GT(shown(ack).expires_in(now_), 400'000s);

  TestPacket reset = segment(true, Tcp::kRst | Tcp::kAck, 101, 501);
  pass(reset);
  EXPECT_LE(shown(reset).expires_in(now_), 10s);
  EXPECT_LE(tracker_->next_deadline(), now_ + 11s);
  advance(11s);
  between_batches();
  EXPECT_EQ(table_->count(), 0u);
}

}  // namespace
}  // namespace weir::conntrack
