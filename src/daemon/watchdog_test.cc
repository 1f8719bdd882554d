#include "daemon/watchdog.h"

#include <gtest/gtest.h>

namespace weir::daemon {
namespace {

using namespace std::chrono_literals;

TEST(Watchdog, IsToldThreeTimesWithinTheLimit) {
  Watchdog watchdog(30s);
  EXPECT_TRUE(watchdog.is_alive(Time(100s), {1, 1}));
  EXPECT_FALSE(watchdog.is_alive(Time(109s), {2, 2}));
  EXPECT_TRUE(watchdog.is_alive(Time(110s), {2, 2}));
}

TEST(Watchdog, IsNotToldWhileAWorkerHangs) {
  Watchdog watchdog(30s);
  EXPECT_TRUE(watchdog.is_alive(Time(100s), {1, 1}));
  EXPECT_FALSE(watchdog.is_alive(Time(110s), {9, 1}));
  EXPECT_FALSE(watchdog.is_alive(Time(129s), {99, 1}));
  EXPECT_TRUE(watchdog.is_alive(Time(129s), {99, 2}));
}

TEST(Watchdog, NobodyIsToldWhoDoesNotWatch) {
  Watchdog watchdog(0s);
  EXPECT_FALSE(watchdog.is_alive(Time(100s), {1}));
}

}  // namespace
}  // namespace weir::daemon
