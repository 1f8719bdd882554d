#include "conntrack/edit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "conntrack/control.h"
#include "conntrack/invert.h"
#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"

/// Connections that tools make and change; alone, and while packets, dumps, deletes and the reader
/// of events are at work (under ThreadSanitizer).
namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart = Time(1000s);

/// From 192.0.2.1:`port` to 198.51.100.1:2000, as wire::FrameSpec's packets are.
Tuple tuple_of(std::uint16_t port, std::uint8_t protocol = 17) {
  return {.src = wire::Address::ip(0xc0000201u),
          .dst = wire::Address::ip(0xc6336401u),
          .src_port = Be16::from_host(port),
          .dst_port = Be16::from_host(2000),
          .family = wire::Family::ip,
          .protocol = protocol};
}

Creation creation_of(std::uint16_t port, std::uint8_t protocol = 17) {
  Creation creation;
  creation.original = tuple_of(port, protocol);
  creation.reply = *invert(creation.original);
  creation.edit.timeout = 100s;
  return creation;
}

Edit status_edit(std::uint32_t status) {
  Edit edit;
  edit.status = status;
  return edit;
}

/// Each byte of the labels, and the mark.
Edit mark_edit(std::uint32_t mark, std::uint8_t label, std::uint8_t mask = 0xff) {
  Edit edit;
  edit.mark = Edit::Mark{.value = mark, .mask = mask};
  edit.labels = Edit::Labels{};
  edit.labels->value.fill(label);
  edit.labels->mask.fill(mask);
  return edit;
}

/// A table whose one worker does what is posted at once.
class Edits : public ::testing::Test {
 protected:
  Edits() : table_(std::move(*Table::create({.max = 1000}, kStart))) {
    tracker().online();
    table_->set_waker(
        [](void* self, std::uint32_t) {
          Edits& edits = *static_cast<Edits*>(self);
          edits.tracker().serve_mailbox(edits.now_);
        },
        this);
  }
  ~Edits() override { tracker().offline(); }

  Tracker& tracker() { return table_->tracker(0); }
  std::optional<Snapshot> find(std::uint16_t port, std::uint8_t protocol = 17) {
    return control_.find(tuple_of(port, protocol), now_);
  }
  int edit(std::uint16_t port, const Edit& edit) { return control_.edit(*find(port), edit); }

  Time now_ = kStart;
  std::unique_ptr<Table> table_;
  Control control_{*table_, table_->control_participant(0)};
};

TEST_F(Edits, AMadeConnectionIsFoundByBothTuples) {
  ASSERT_EQ(control_.create(creation_of(1)), 0);
  const auto connection = find(1);
  ASSERT_TRUE(connection);
  EXPECT_EQ(connection->status, status::kConfirmed);
  EXPECT_EQ(connection->expires_in(now_), 100s);
  EXPECT_TRUE(control_.find(*invert(tuple_of(1)), now_, Direction::reply));
  EXPECT_FALSE(control_.find(*invert(tuple_of(1)), now_, Direction::original));
  EXPECT_EQ(table_->count(), 1u);
  EXPECT_EQ(table_->statistics(0).insert, 1u);
}

TEST_F(Edits, NoneOfItsTuplesMayBeTaken) {
  ASSERT_EQ(control_.create(creation_of(1)), 0);
  EXPECT_EQ(control_.create(creation_of(1)), EEXIST);
  Creation same_reply = creation_of(2);
  same_reply.reply = *invert(tuple_of(1));
  EXPECT_EQ(control_.create(same_reply), EEXIST);
  EXPECT_EQ(table_->count(), 1u);
}

TEST_F(Edits, PacketsFollowAMadeConnection) {
  ASSERT_EQ(control_.create(creation_of(1)), 0);
  TestPacket answer(
      wire::FrameSpec{.src = "198.51.100.1", .dst = "192.0.2.1", .src_port = 2000, .dst_port = 1});
  packet::Batch batch = batch_of(now_, {&answer});
  packet::Batch later;
  tracker().track(batch, later);
  EXPECT_EQ(answer.ct.info, packet::CtInfo::established_reply);
  EXPECT_EQ(find(1)->traffic[1].packets, 1u);
}

TEST_F(Edits, AFullTableRefuses) {
  table_->sysctl().max.set(1);
  Creation assured = creation_of(1);
  assured.edit.status = status::kConfirmed | status::kSeenReply | status::kAssured;
  ASSERT_EQ(control_.create(assured), 0);
  EXPECT_EQ(control_.create(creation_of(2)), ENOMEM);
  EXPECT_EQ(table_->count(), 1u);
}

TEST_F(Edits, StatusBitsAreSetAndNeverTakenAway) {
  constexpr std::uint32_t kBegun = status::kConfirmed | status::kSeenReply;
  EXPECT_EQ(check_status(kBegun, kBegun | status::kAssured), 0);
  EXPECT_EQ(check_status(kBegun, status::kConfirmed), EBUSY) << "SEEN_REPLY stays";
  EXPECT_EQ(check_status(kBegun, status::kSeenReply), EBUSY) << "so does CONFIRMED";
  EXPECT_EQ(check_status(kBegun, kBegun | status::kDying), EBUSY);
  EXPECT_EQ(check_status(kBegun, kBegun | status::kExpected), EBUSY);

  ASSERT_EQ(control_.create(creation_of(1)), 0);
  EXPECT_EQ(edit(1, status_edit(kBegun | status::kSrcNat | status::kNeedsExtension)), 0);
  EXPECT_EQ(find(1)->status, kBegun) << "what isn't a tool's to set is passed over";
  EXPECT_FALSE(tracker().entry(find(1)->number).status() & status::kNeedsExtension);
}

TEST_F(Edits, AFixedTimeoutStays) {
  Creation fixed = creation_of(1);
  fixed.edit.status = status::kConfirmed | status::kFixedTimeout;
  ASSERT_EQ(control_.create(fixed), 0);
  Edit both = mark_edit(1, 1);
  both.timeout = 5s;
  EXPECT_EQ(edit(1, both), EPERM);
  EXPECT_EQ(find(1)->mark, 0u) << "a refused change changes nothing";
}

TEST_F(Edits, AShorterTimeoutEndsTheConnectionEarlier) {
  ASSERT_EQ(control_.create(creation_of(1)), 0);
  Edit shorter;
  shorter.timeout = 5s;
  ASSERT_EQ(edit(1, shorter), 0);
  EXPECT_LE(tracker().next_deadline(), now_ + 7s);
  now_ += 10s;
  tracker().expire(now_);
  EXPECT_EQ(table_->count(), 0u);
}

TEST_F(Edits, MarksAndLabelsAreMasked) {
  ASSERT_EQ(control_.create(creation_of(1)), 0);
  ASSERT_EQ(edit(1, mark_edit(0xf0, 0x0f)), 0);
  ASSERT_EQ(edit(1, mark_edit(0x01, 0x40, 0x03)), 0);
  EXPECT_EQ(find(1)->mark, 0xf1u);
  EXPECT_EQ(find(1)->rare.labels[15], 0x4c);
}

TEST_F(Edits, TheRareStateOfAnEndedConnectionIsNotItsSuccessors) {
  for (int life = 0; life < 3; ++life) {
    ASSERT_EQ(control_.create(creation_of(1)), 0);
    EXPECT_EQ(find(1)->rare.labels[0], 0) << life;
    ASSERT_EQ(edit(1, mark_edit(0, 0xff)), 0);
    ASSERT_TRUE(control_.remove(*find(1)));
    tracker().expire(now_);
    tracker().quiet();
    tracker().expire(now_);
  }
}

/// A worker thread's round over and over: packets of `flows` connections, mail, timers.
void run_worker(Table& table, std::uint32_t number, const std::atomic<bool>& is_stopping) {
  Tracker& tracker = table.tracker(number);
  std::vector<std::unique_ptr<TestPacket>> packets;
  for (std::uint16_t port = 1; port <= 60; ++port) {
    packets.push_back(std::make_unique<TestPacket>(wire::FrameSpec{.src_port = port}));
  }
  while (!is_stopping) {
    tracker.online();
    packet::Batch batch;
    batch.now = kStart;
    for (const auto& packet : packets) {
      packet->again();
      batch.add(packet.get());
    }
    packet::Batch later;
    later.now = kStart;
    tracker.track(batch, later);
    for (packet::Packet* const packet : batch) {
      if (tracker.confirm(*packet, kStart) != Confirmed::done) tracker.discard(*packet);
    }
    for (packet::Packet* const packet : later) tracker.discard(*packet);
    tracker.serve_mailbox(kStart);
    tracker.expire(kStart);
    tracker.quiet();
    tracker.offline();
    std::this_thread::yield();
  }
}

TEST(EditThreads, PacketsDumpsDeletesChangesCreationsAndEventsAtOnce) {
  constexpr std::uint32_t kWorkers = 2;
  constexpr int kRounds = 25;
  auto table =
      std::move(*Table::create({.max = 4000, .workers = kWorkers, .event_ring = 1 << 16}, kStart));
  table->set_wanted_events(~std::uint32_t{0});
  std::atomic<bool> is_stopping{false};
  std::vector<std::thread> workers;
  for (std::uint32_t i = 0; i < kWorkers; ++i) {
    workers.emplace_back([&, i] { run_worker(*table, i, is_stopping); });
  }

  Control control(*table, table->control_participant(0));
  EventReader reader({&table->tracker(0).events(), &table->tracker(1).events()},
                     table->arena().capacity() + 1);
  std::vector<bool> is_alive(table->arena().capacity() + 1);
  int wrong = 0, made = 0, changed = 0, removed = 0;
  const auto read_events = [&] {
    reader.read(1 << 16, [&](const Event& event) {
      const std::uint32_t number = event.connection.number;
      const bool begins = (event.bits & event::kNew) != 0;
      const bool ends = (event.bits & event::kDestroy) != 0;
      if (is_alive[number] == begins) ++wrong;
      if (begins || ends) is_alive[number] = begins;
    });
  };
  for (int round = 0; round < kRounds; ++round) {
    for (std::uint16_t port = 1; port <= 120; port += 7) {  // Half of them packets make, too.
      const int error = control.create(creation_of(port));
      if (error == 0) ++made;
      if (error != 0 && error != EEXIST) ++wrong;
    }
    std::vector<Snapshot> seen;
    Control::Cursor cursor;
    while (control.dump(cursor, 256, kStart, [&](const Snapshot& connection) {
      const std::uint8_t label = connection.rare.labels[0];
      if (connection.mark != label) ++wrong;  // Both are set in one change.
      seen.push_back(connection);
      return true;
    })) {
    }
    for (std::size_t i = 0; i < seen.size(); ++i) {
      Edit edit = mark_edit(0, static_cast<std::uint8_t>(round));
      edit.mark = Edit::Mark{.value = static_cast<std::uint32_t>(round)};
      if (i % 2 == 0 && control.edit(seen[i], edit) == 0) ++changed;
      if (i % 5 == 0 && control.remove(seen[i])) ++removed;
    }
    read_events();
  }
  removed += static_cast<int>(control.flush(kStart, 0, [](const Snapshot&) { return true; }));
  is_stopping = true;
  for (std::thread& worker : workers) worker.join();
  read_events();

  EXPECT_EQ(wrong, 0);
  EXPECT_GT(made, 0);
  EXPECT_GT(changed, 0);
  EXPECT_GT(removed, 0);
  std::size_t alive = 0;
  for (const bool is : is_alive) alive += is ? 1 : 0;
  EXPECT_EQ(alive, table->count()) << "each end has been told";
}

}  // namespace
}  // namespace weir::conntrack
