#include "sets/hash_set.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

namespace weir::sets {
namespace {

using namespace std::chrono_literals;

constexpr HashKey kKey{1, 2};
constexpr HashSet::Layout kPlain{.key_bytes = 4};
constexpr HashSet::Layout kTimed{.key_bytes = 4, .value_bytes = 8, .has_timeout = true};
constexpr Time kStart{1000s};

Element add(HashSet& set, std::uint32_t key, const View& view = {kStart, 1}) {
  const Element fresh = set.allocate(as_bytes(key));
  if (fresh == 0) return 0;
  const Element there = set.link(fresh, view);
  if (there != fresh) set.discard(fresh);
  return there;
}

std::set<std::uint32_t> keys_of(const HashSet& set, const View& view) {
  std::set<std::uint32_t> keys;
  set.walk(0, view, [&](Element e) {
    EXPECT_TRUE(keys.insert(load<std::uint32_t>(set.key(e).data())).second);
    return true;
  });
  return keys;
}

void recycle(HashSet& set) {
  set.recycle(set.detach_removed(), [](Element) {});
}

TEST(HashSet, BehavesLikeAMap) {
  EXPECT_TRUE(rc::check([] {
    HashSet set(kTimed, kKey);
    std::map<std::uint32_t, Time> model;  // Key to deadline.
    View view{kStart, 1};
    const auto steps = *rc::gen::inRange(0, 400);
    for (int step = 0; step < steps; ++step) {
      const auto key = *rc::gen::inRange<std::uint32_t>(0, 64);
      std::erase_if(model,
                    [&](const auto& it) { return it.second != Time{} && it.second <= view.now; });
      const bool is_in = model.contains(key);
      const Element found = set.find(as_bytes(key), view);
      RC_ASSERT((found != 0) == is_in);
      switch (*rc::gen::inRange(0, 5)) {
        case 0:
        case 1: {
          const Element fresh = set.allocate(as_bytes(key));
          const Time deadline = *rc::gen::element(Time{}, view.now + 3s, view.now + 10s);
          set.set_timeout(fresh, 3s, deadline);
          const Element there = set.link(fresh, view);
          RC_ASSERT((there == fresh) == !is_in);
          if (there == fresh) {
            model[key] = deadline;
          } else {
            RC_ASSERT(there == found);
            set.discard(fresh);
          }
          break;
        }
        case 2:
          if (found) RC_ASSERT(set.erase(found));
          model.erase(key);
          break;
        case 3:
          view.now += 1s;
          break;
        case 4:
          set.expire(view.now, *rc::gen::inRange<std::uint32_t>(0, 50));
          recycle(set);
          break;
      }
    }
    std::erase_if(model,
                  [&](const auto& it) { return it.second != Time{} && it.second <= view.now; });
    std::set<std::uint32_t> expected;
    for (const auto& [key, deadline] : model) expected.insert(key);
    RC_ASSERT(keys_of(set, view) == expected);
    // The first lap only goes on from where the last step stopped.
    for (int lap = 0; lap < 2; ++lap) set.expire(view.now, 1000);
    RC_ASSERT(set.count() == expected.size());
  }));
}

TEST(HashSet, GrowsToManyElementsAndWalksThemInSteps) {
  HashSet set(kPlain, kKey);
  constexpr std::uint32_t kCount = 50'000;
  for (std::uint32_t k = 0; k < kCount; ++k) ASSERT_NE(add(set, k), 0u);
  const View view{kStart, 1};
  for (std::uint32_t k = 0; k < kCount; ++k) ASSERT_NE(set.find(as_bytes(k), view), 0u) << k;
  const std::uint32_t absent = kCount;
  EXPECT_EQ(set.find(as_bytes(absent), view), 0u);

  std::set<std::uint32_t> seen;
  std::uint32_t cursor = 0;
  int steps = 0;
  do {
    int in_step = 0;
    cursor = set.walk(cursor, view, [&](Element e) {
      EXPECT_TRUE(seen.insert(load<std::uint32_t>(set.key(e).data())).second);
      return ++in_step < 100;
    });
    ++steps;
  } while (cursor != 0);
  EXPECT_EQ(seen.size(), kCount);
  EXPECT_NEAR(steps, kCount / 100, 2);
}

TEST(HashSet, RefusesElementsPastItsMaximumAndReusesMemory) {
  HashSet set({.key_bytes = 4, .max_elements = 3}, kKey);
  for (std::uint32_t k = 0; k < 3; ++k) ASSERT_NE(add(set, k), 0u);
  EXPECT_EQ(add(set, 9), 0u);
  const Element gone = set.find(as_bytes(std::uint32_t{1}), {kStart, 1});
  EXPECT_TRUE(set.erase(gone));
  EXPECT_FALSE(set.erase(gone));
  const Element next = add(set, 9);
  EXPECT_NE(next, 0u);
  EXPECT_NE(next, gone);  // Nobody has said that the epoch is over.
  set.erase(next);
  recycle(set);
  const Element again = add(set, 10);
  EXPECT_TRUE(again == gone || again == next);
}

TEST(HashSet, GenerationsSeparateWhatATransactionAddsAndDeletes) {
  HashSet set(kPlain, kKey);
  const std::uint32_t old_key = 7;
  const std::uint32_t new_key = 8;
  const Element kept = add(set, old_key);
  set.exist_until(kept, 2);
  const Element fresh = set.allocate(as_bytes(new_key));
  set.exist_from(fresh, 2);
  ASSERT_EQ(set.link(fresh, {kStart, 2}), fresh);
  EXPECT_EQ(keys_of(set, {kStart, 1}), std::set<std::uint32_t>{old_key});
  EXPECT_EQ(keys_of(set, {kStart, 2}), std::set<std::uint32_t>{new_key});

  // Deleted and added again in one transaction: both are there, each reader sees its own.
  const Element again = set.allocate(as_bytes(old_key));
  set.exist_from(again, 2);
  ASSERT_EQ(set.link(again, {kStart, 2}), again);
  EXPECT_EQ(set.find(as_bytes(old_key), {kStart, 1}), kept);
  EXPECT_EQ(set.find(as_bytes(old_key), {kStart, 2}), again);

  // A packet of the running generation adds what the transaction has added already.
  EXPECT_EQ(add(set, new_key, {kStart, 1}), fresh);
}

TEST(HashSet, ExpiredMeansAbsentAndMakesWay) {
  HashSet set(kTimed, kKey);
  const std::uint32_t key = 5;
  const Element first = set.allocate(as_bytes(key));
  set.set_timeout(first, 2s, kStart + 2s);
  set.link(first, {kStart, 1});
  EXPECT_EQ(set.find(as_bytes(key), {kStart + 2s - 1ns, 1}), first);
  EXPECT_EQ(set.find(as_bytes(key), {kStart + 2s, 1}), 0u);
  EXPECT_TRUE(keys_of(set, {kStart + 2s, 1}).empty());
  const Element second = add(set, key, {kStart + 2s, 1});
  EXPECT_NE(second, first);
  EXPECT_EQ(set.find(as_bytes(key), {kStart + 2s, 1}), second);
}

/// Four threads add and erase keys of a small range while two read keys that never leave. What
/// matters is that those are always found, that each key is there at most once, and what TSan says.
TEST(HashSet, ReadersNeverMissWhileOthersChange) {
  HashSet set(kTimed, kKey);
  constexpr std::uint32_t kStable = 500;
  const View view{kStart, 1};
  for (std::uint32_t k = 0; k < kStable; ++k) ASSERT_NE(add(set, k), 0u);

  std::atomic<int> misses{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&, reader] {
      std::uint32_t k = static_cast<std::uint32_t>(reader);
      while (!stop.load(std::memory_order_relaxed)) {
        k = (k * 5 + 3) % kStable;
        const Element found = set.find(as_bytes(k), view);
        if (found == 0 || load<std::uint32_t>(set.key(found).data()) != k) ++misses;
      }
    });
  }
  std::vector<std::thread> writers;
  for (std::uint32_t writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&, writer] {
      std::uint32_t seed = writer + 1;
      for (int i = 0; i < 20'000; ++i) {
        seed = seed * 1664525 + 1013904223;
        const std::uint32_t key = kStable + (seed >> 16) % 2000;
        if (seed >> 31) {
          add(set, key, view);
        } else if (const Element found = set.find(as_bytes(key), view)) {
          set.erase(found);
        }
      }
    });
  }
  for (auto& thread : writers) thread.join();
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(misses, 0);
  const auto keys = keys_of(set, view);  // Checks that no key is there twice.
  EXPECT_EQ(set.count(), keys.size());
  for (std::uint32_t k = 0; k < kStable; ++k) EXPECT_TRUE(keys.contains(k));
}

}  // namespace
}  // namespace weir::sets
