#include "conntrack/sysctl.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "conntrack/events.h"
#include "conntrack/table.h"
#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

TEST(Sysctl, NamesAreInOrderAndEachHasItsOwnKnobAndADefaultWithinItsRange) {
  Sysctl sysctl;
  const auto names = sysctl_names();
  EXPECT_TRUE(std::ranges::is_sorted(names, {}, &SysctlName::name));
  for (const SysctlName& name : names) {
    const std::uint32_t value = name.knob(sysctl).get();
    EXPECT_GE(value, name.least) << name.name;
    EXPECT_LE(value, name.most) << name.name;
    for (const SysctlName& other : names) {
      EXPECT_EQ(&name == &other, &name.knob(sysctl) == &other.knob(sysctl))
          << name.name << " and " << other.name;
    }
  }
}

TEST(Sysctl, IsFoundByItsFullNameAndByWhatFollowsThePrefix) {
  const SysctlName* const loose = find_sysctl("net.netfilter.nf_conntrack_tcp_loose");
  ASSERT_NE(loose, nullptr);
  EXPECT_EQ(find_sysctl("nf_conntrack_tcp_loose"), loose);
  EXPECT_EQ(find_sysctl("tcp_loose"), loose);
  EXPECT_EQ(find_sysctl("net.nf_conntrack_max"), find_sysctl("max"));
  EXPECT_EQ(find_sysctl("loose"), nullptr);
  EXPECT_EQ(find_sysctl(""), nullptr);
}

/// The kernel's answers on writing to the file (6.18, HZ 250), negative timeouts aside.
TEST(Sysctl, TakesWhatTheKernelTakes) {
  struct Case {
    const char* name;
    const char* text;
    bool is_taken;
    std::uint32_t value;
  };
  static constexpr Case kCases[] = {
      {"tcp_timeout_established", "0", true, 0},
      {"tcp_timeout_established", "0x10", true, 16},
      {"tcp_timeout_established", "010", true, 8},
      {"tcp_timeout_established", "8589934", true, 8589934},
      {"tcp_timeout_established", "8589935", false, 0},
      {"tcp_timeout_established", "99999999", false, 0},
      {"tcp_timeout_established", "x", false, 0},
      {"tcp_timeout_established", "", false, 0},
      {"tcp_timeout_established", "5 6", false, 0},
      {"tcp_loose", "0", true, 0},
      {"tcp_loose", "2", false, 0},
      {"tcp_loose", "-1", false, 0},
      {"tcp_max_retrans", "255", true, 255},
      {"tcp_max_retrans", "256", false, 0},
      {"events", "2", true, 2},
      {"events", "3", false, 0},
      {"expect_max", "0", false, 0},
      {"frag6_high_thresh", "3145727", false, 0},
      {"frag6_high_thresh", "4194305", false, 0},
      {"frag6_low_thresh", "4194305", false, 0},
      {"max", "262145", false, 0},
      {"max", "0", true, 0},
      {"count", "1", false, 0},
  };
  for (const Case& c : kCases) {
    Sysctl sysctl;
    const SysctlName* const name = find_sysctl(c.name);
    ASSERT_NE(name, nullptr) << c.name;
    const std::uint32_t before = name->knob(sysctl).get();
    const Result<void> set = set_sysctl(sysctl, *name, c.text);
    EXPECT_EQ(set.has_value(), c.is_taken) << c.name << " = " << c.text;
    EXPECT_EQ(name->knob(sysctl).get(), c.is_taken ? c.value : before) << c.name << " = " << c.text;
  }
}

TEST(Sysctl, ARefusalNamesTheRange) {
  Sysctl sysctl;
  const Result<void> set = set_sysctl(sysctl, *find_sysctl("tcp_loose"), "2");
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().code, EINVAL);
  EXPECT_NE(set.error().text.find("from 0 to 1"), std::string::npos) << set.error().text;
}

TEST(Sysctl, WithoutEventsNobodyIsToldWhoeverListens) {
  const auto table = std::move(*Table::create({.max = 8}, Time(std::chrono::seconds(1))));
  table->set_wanted_events(event::kNew);
  table->sysctl().events.set(0);
  table->heed_events_knob();
  EXPECT_EQ(table->wanted_events(), 0u);
  table->set_wanted_events(event::kDestroy);
  EXPECT_EQ(table->wanted_events(), 0u) << "a new listener";
  table->sysctl().events.set(2);
  table->heed_events_knob();
  EXPECT_EQ(table->wanted_events(), event::kDestroy);
}

}  // namespace
}  // namespace weir::conntrack
