#include "base/epoch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace weir {
namespace {

TEST(Epochs, WaitsForThoseWhoAreOnlineOnly) {
  Epochs epochs(3);
  epochs.online(0);
  epochs.online(1);
  const std::uint64_t tag = epochs.advance();
  EXPECT_FALSE(epochs.reached(tag));
  epochs.quiet(0);
  EXPECT_FALSE(epochs.reached(tag));
  epochs.offline(1);
  EXPECT_TRUE(epochs.reached(tag));
}

TEST(Epochs, WhoComesOnlineLaterHoldsUpNothing) {
  Epochs epochs(2);
  const std::uint64_t tag = epochs.advance();
  epochs.online(1);
  EXPECT_TRUE(epochs.reached(tag));
  EXPECT_FALSE(epochs.reached(epochs.advance()));
}

/// One thread unlinks and reuses cells that others read: none may see a cell that is being reused.
TEST(Epochs, NobodySeesReusedMemory) {
  constexpr int kReaders = 2;
  constexpr int kCells = 64;
  Epochs epochs(kReaders);
  std::vector<int> cells(kCells, 1);  // Plain: a race here is a broken epoch, and TSan says so.
  std::atomic<int> current{0};
  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < kReaders; ++r) {
    readers.emplace_back([&, r] {
      while (!stop.load(std::memory_order_relaxed)) {
        const EpochGuard guard(epochs, static_cast<std::size_t>(r));
        for (int i = 0; i < 50; ++i) {
          const int value =
              cells[static_cast<std::size_t>(current.load(std::memory_order_acquire))];
          if (value != 1) bad.fetch_add(1);
          epochs.quiet(static_cast<std::size_t>(r));
        }
      }
    });
  }
  for (int i = 1; i < 200; ++i) {
    const int old = current.load(std::memory_order_relaxed);
    const int next = (old + 1) % kCells;
    cells[static_cast<std::size_t>(next)] = 1;
    current.store(next, std::memory_order_release);
    const std::uint64_t tag = epochs.advance();
    while (!epochs.reached(tag)) std::this_thread::yield();
    cells[static_cast<std::size_t>(old)] = 0;
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(bad.load(), 0);
}

}  // namespace
}  // namespace weir
