#include "conntrack/proto/udplite.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

const TimeoutList kTimeouts{30, 120};

TEST(Udplite, TheFirstAnswerMakesAStream) {
  EXPECT_EQ(track_udplite({}, kTimeouts).timeout, 30s);
  const Step step = track_udplite({.seen_reply = true}, kTimeouts);
  EXPECT_EQ(step.timeout, 120s);
  EXPECT_TRUE(step.assured);
}

/// RFC 3828 section 3.1.
TEST(Udplite, Coverage) {
  struct Case {
    std::uint8_t field;
    std::size_t covered;  // Zero: refused.
  };
  static constexpr Case kCases[] = {{0, 20}, {8, 8}, {13, 13}, {20, 20}, {7, 0}, {21, 0}};
  for (const Case& c : kCases) {
    std::vector<std::uint8_t> bytes(20);
    bytes[5] = c.field;
    bytes[7] = 1;  // The checksum.
    const auto covered = udplite_coverage(bytes);
    EXPECT_EQ(covered.value_or(0), c.covered) << int{c.field};
    if (!covered) {
      EXPECT_EQ(covered.error(), Reason::checksum_coverage);
    }
  }
}

TEST(Udplite, MustHaveAChecksum) {
  EXPECT_EQ(udplite_coverage(std::vector<std::uint8_t>(20)).error(), Reason::udplite_no_checksum);
  EXPECT_EQ(udplite_coverage(std::vector<std::uint8_t>(7)).error(), Reason::truncated);
}

}  // namespace
}  // namespace weir::conntrack
