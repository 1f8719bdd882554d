#include "base/timing_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;

class TimingWheelTest : public testing::Test {
 protected:
  static constexpr Time kStart = Time(1'000'000s);

  std::vector<WheelLink> links_{2000};
  TimingWheel wheel_{WheelLinks{reinterpret_cast<std::uint8_t*>(links_.data()), sizeof(WheelLink)}};

  std::vector<std::uint32_t> turn(Time now, std::size_t budget = 100000) {
    std::vector<std::uint32_t> fired;
    wheel_.turn(now, budget, [&](std::uint32_t number) { fired.push_back(number); });
    return fired;
  }
};

TEST_F(TimingWheelTest, FiresWithinATickAfterTheDeadline) {
  wheel_.add(7, kStart + 10s, kStart);
  EXPECT_TRUE(turn(kStart + 10s - 1ns).empty());
  EXPECT_EQ(turn(kStart + 10s + 135ms), std::vector<std::uint32_t>{7});
  EXPECT_EQ(wheel_.size(), 0u);
  EXPECT_FALSE(TimingWheel::hangs(links_[7]));
}

TEST_F(TimingWheelTest, StopsAtTheBudgetAndGoesOnLater) {
  for (std::uint32_t i = 1; i <= 10; ++i) wheel_.add(i, kStart + 1s, kStart);
  EXPECT_EQ(turn(kStart + 2s, 4).size(), 4u);
  EXPECT_EQ(wheel_.size(), 6u);
  EXPECT_LE(wheel_.next_due(), kStart + 2s);
  EXPECT_EQ(turn(kStart + 2s).size(), 6u);
}

TEST_F(TimingWheelTest, FirstIsTheOneThatFiresFirst) {
  wheel_.add(1, kStart + 100h, kStart);
  wheel_.add(2, kStart + 100s, kStart);
  wheel_.add(3, kStart + 3s, kStart);
  wheel_.add(4, kStart + 3s, kStart);
  EXPECT_EQ(wheel_.first(), 3u);
  wheel_.remove(3);
  EXPECT_EQ(wheel_.first(), 4u);
  wheel_.remove(4);
  EXPECT_EQ(wheel_.first(), 2u);
}

TEST_F(TimingWheelTest, EmptyNeverFalls) { EXPECT_EQ(wheel_.next_due(), Time::max()); }

/// Against a sorted map: deadlines of all ranges, removals, an owner that adds again what isn't
/// due, and a clock that sometimes jumps by days.
TEST_F(TimingWheelTest, FiresAllInTimeWhateverTheDeadlines) {
  std::mt19937_64 random(1);
  std::map<std::uint32_t, Time> deadlines;
  Time now = kStart;
  for (int step = 0; step < 20000; ++step) {
    const std::uint32_t number = 1 + random() % 1999;
    if (!deadlines.contains(number)) {
      const auto exponent = random() % 42;
      const Time deadline = now + Duration(random() % (std::uint64_t{1} << (exponent + 8)));
      wheel_.add(number, deadline, now);
      deadlines[number] = deadline;
    } else if (random() % 4 == 0) {
      wheel_.remove(number);
      deadlines.erase(number);
    }
    now += random() % 1000 == 0 ? Duration(40h) : Duration(random() % 2'000'000'000);
    ASSERT_LE(wheel_.next_due(), [&] {
      Time first = Time::max();
      for (const auto& [n, deadline] : deadlines) first = std::min(first, deadline);
      return deadlines.empty() ? first : std::max(first, now) + 135ms;
    }());
    wheel_.turn(now, 1000000, [&](std::uint32_t fired) {
      if (deadlines.at(fired) > now) {
        wheel_.add(fired, deadlines.at(fired), now);
      } else {
        deadlines.erase(fired);
      }
    });
    for (const auto& [n, deadline] : deadlines) ASSERT_GT(deadline + 135ms, now) << n;
    ASSERT_EQ(wheel_.size(), deadlines.size());
  }
}

}  // namespace
}  // namespace weir
