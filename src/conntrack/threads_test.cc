// Several workers and a control thread on one table; worth most under ThreadSanitizer.

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <memory>
#include <thread>
#include <vector>

#include "conntrack/control.h"
#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart = Time(1000s);
constexpr std::uint32_t kWorkers = 2;

std::unique_ptr<TestPacket> packet_of(std::uint16_t port, bool is_reply) {
  return std::make_unique<TestPacket>(is_reply ? wire::FrameSpec{.src = "198.51.100.1",
                                                                 .dst = "192.0.2.1",
                                                                 .src_port = 2000,
                                                                 .dst_port = port}
                                               : wire::FrameSpec{.src_port = port});
}

/// One worker's packets, tracked in batches as the pipeline does it.
class Worker {
 public:
  Worker(Table& table, std::uint32_t number) : tracker_(table.tracker(number)) {
    tracker_.online();
  }
  ~Worker() { tracker_.offline(); }

  void pass(std::vector<std::unique_ptr<TestPacket>>& packets, Time now) {
    for (std::size_t i = 0; i < packets.size();) {
      packet::Batch batch;
      batch.now = now;
      for (; i < packets.size() && !batch.is_full(); ++i) {
        packets[i]->again();
        batch.add(packets[i].get());
      }
      while (!batch.is_empty()) {
        packet::Batch later;
        later.now = now;
        tracker_.track(batch, later);
        for (packet::Packet* const packet : batch) confirm(*packet, now);
        batch = later;
      }
      tracker_.serve_mailbox(now);
      tracker_.expire(now);
      tracker_.quiet();
    }
  }
  std::uint64_t lost_races() const { return lost_races_; }
  std::uint64_t refused() const { return refused_; }

 private:
  void confirm(packet::Packet& packet, Time now) {
    const Confirmed confirmed = tracker_.confirm(packet, now);
    if (confirmed == Confirmed::lost_race) {
      ++lost_races_;
      if (packet.ct.entry == 0) ++refused_;
    } else if (confirmed != Confirmed::done || packet.ct.entry == 0) {
      ++refused_;
    }
  }

  Tracker& tracker_;
  std::uint64_t lost_races_ = 0;
  std::uint64_t refused_ = 0;
};

TEST(Threads, TwoWorkersCreateTheSameConnectionsAndNoPacketIsLost) {
  constexpr std::uint16_t kFlows = 500;
  constexpr int kRounds = 4;
  auto table = std::move(*Table::create({.max = 10000, .workers = kWorkers}, kStart));
  std::barrier round(kWorkers);
  std::atomic<std::uint64_t> refused{0};
  std::vector<std::thread> threads;
  for (std::uint32_t number = 0; number < kWorkers; ++number) {
    threads.emplace_back([&, number] {
      Worker worker(*table, number);
      std::vector<std::unique_ptr<TestPacket>> packets;
      for (std::uint16_t flow = 0; flow < kFlows; ++flow) {
        packets.push_back(packet_of(static_cast<std::uint16_t>(1 + flow), number == 1));
      }
      for (int i = 0; i < kRounds; ++i) {
        round.arrive_and_wait();
        worker.pass(packets, kStart);
      }
      refused += worker.refused();
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(refused.load(), 0u);
  EXPECT_EQ(table->count(), kFlows);
  std::uint64_t counted = 0, entries = 0;
  for (std::uint32_t number = 1; number < table->arena().used_end(); ++number) {
    const auto connection = table->snapshot(number, kStart);
    if (!connection) continue;
    ++entries;
    counted += connection->traffic[0].packets + connection->traffic[1].packets;
  }
  EXPECT_EQ(entries, kFlows);
  EXPECT_EQ(counted, std::uint64_t{kFlows} * kRounds * kWorkers);
}

/// Flows come, expire and are deleted while the index grows, a control thread dumps and deletes,
/// and another reads the events: every connection's events are NEW first and DESTROY last.
TEST(Threads, DumpAndDeleteWhilePacketsFlow) {
  constexpr int kRounds = 30;
  auto table =
      std::move(*Table::create({.max = 20000, .workers = kWorkers, .event_ring = 65536}, kStart));
  table->set_wanted_events(event::kNew | event::kDestroy);
  std::atomic<std::uint32_t> running{kWorkers};
  std::vector<std::thread> threads;
  for (std::uint32_t number = 0; number < kWorkers; ++number) {
    threads.emplace_back([&, number] {
      {
        Worker worker(*table, number);
        Time now = kStart;
        for (int i = 0; i < kRounds; ++i) {
          std::vector<std::unique_ptr<TestPacket>> packets;
          for (std::uint16_t flow = 0; flow < 200; ++flow) {
            packets.push_back(
                packet_of(static_cast<std::uint16_t>(1 + flow + i * 100), number == 1));
          }
          worker.pass(packets, now);
          now += 5s;
        }
      }
      running.fetch_sub(1);
      // The mailbox is served until the control thread is through.
      while (running.load() != 0xffffffff) {
        table->tracker(number).online();
        table->tracker(number).serve_mailbox(kStart + 5s * kRounds);
        table->tracker(number).offline();
        std::this_thread::yield();
      }
    });
  }

  std::uint64_t shown = 0, wrong = 0, removed = 0;
  std::vector<bool> is_alive(table->arena().capacity() + 1);
  EventReader reader({&table->tracker(0).events(), &table->tracker(1).events()},
                     table->arena().capacity() + 1);
  const auto read = [&] {
    reader.read(100000, [&](const Event& event) {
      const bool begins = (event.bits & event::kNew) != 0;
      if (is_alive[event.connection.number] == begins) ++wrong;
      is_alive[event.connection.number] = begins;
    });
  };
  Control control(*table, table->control_participant(0));
  while (running.load() != 0 || shown == 0) {
    Control::Cursor cursor;
    std::vector<Snapshot> some;
    while (control.dump(cursor, 100, kStart, [&](const Snapshot& connection) {
      ++shown;
      if (connection.original.protocol != 17) ++wrong;
      if (connection.reply.src_port != connection.original.dst_port) ++wrong;
      if (connection.traffic[0].bytes != connection.traffic[0].packets * 28) ++wrong;
      if (some.size() < 5) some.push_back(connection);
      return true;
    })) {
    }
    for (const Snapshot& connection : some) removed += control.remove(connection) ? 1 : 0;
    table->fault_ahead();
    read();
  }
  removed += control.flush(kStart, 0, [](const Snapshot&) { return true; });
  running.store(0xffffffff);
  for (std::thread& thread : threads) thread.join();
  read();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(shown, 0u);
  EXPECT_GT(removed, 0u);
  EXPECT_EQ(table->count(), 0u);
  EXPECT_EQ(std::count(is_alive.begin(), is_alive.end(), true), 0);
}

TEST(Threads, ReservationsOfTwoWorkersNeverMeet) {
  constexpr std::uint16_t kFlows = 300;
  auto table = std::move(*Table::create({.max = 10000, .workers = kWorkers}, kStart));
  std::atomic<int> granted{0};
  std::vector<std::thread> threads;
  for (std::uint32_t number = 0; number < kWorkers; ++number) {
    threads.emplace_back([&, number] {
      Tracker& tracker = table->tracker(number);
      tracker.online();
      for (std::uint16_t flow = 0; flow < kFlows; ++flow) {
        TestPacket packet(wire::FrameSpec{.src = number == 0 ? "10.0.0.1" : "10.0.0.2",
                                          .src_port = static_cast<std::uint16_t>(1 + flow)});
        packet::Batch batch = batch_of(kStart, {&packet});
        packet::Batch later;
        tracker.track(batch, later);
        Tuple reply = tracker.connection(packet).reply();
        reply.dst = wire::Address::ip(0x0a000009u);
        reply.dst_port = Be16::from_host(static_cast<std::uint16_t>(40000 + flow));
        if (!tracker.reserve_reply(packet.ct.entry, reply, kStart)) {
          tracker.discard(packet);
          continue;
        }
        ++granted;
        EXPECT_EQ(tracker.confirm(packet, kStart), Confirmed::done);
      }
      tracker.offline();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted.load(), kFlows);
  EXPECT_EQ(table->count(), kFlows);
}

}  // namespace
}  // namespace weir::conntrack
