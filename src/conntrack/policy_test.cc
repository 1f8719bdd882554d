#include "conntrack/policy.h"

#include <gtest/gtest.h>

#include <chrono>

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

class TimeoutPoliciesTest : public testing::Test {
 protected:
  std::uint16_t add(std::uint32_t seconds) {
    return policies_.add(TimeoutList{seconds}, [this] { return named_; });
  }

  Epochs epochs_{1};
  TimeoutPolicies policies_{epochs_};
  std::vector<bool> named_ = std::vector<bool>(TimeoutPolicies::kMost + 1);
};

TEST_F(TimeoutPoliciesTest, APolicyIsThereUntilItIsRemoved) {
  EXPECT_EQ(policies_.find(0), nullptr);
  const std::uint16_t number = add(7);
  ASSERT_NE(policies_.find(number), nullptr);
  EXPECT_EQ((*policies_.find(number))[1], 7s);
  policies_.set(number, TimeoutList{8});
  EXPECT_EQ((*policies_.find(number))[1], 8s);
  policies_.remove(number);
  EXPECT_EQ(policies_.find(number), nullptr);
}

TEST_F(TimeoutPoliciesTest, ANumberIsUsedAgainWhenNobodyNamesItAndWorkersHaveBeenQuiet) {
  epochs_.online(0);
  std::uint16_t last = 0;
  for (std::uint16_t i = 0; i < TimeoutPolicies::kMost; ++i) {
    last = add(i);
    ASSERT_NE(last, 0);
  }
  EXPECT_EQ(add(1), 0);
  policies_.remove(last);
  EXPECT_EQ(add(1), 0);  // The worker may still be in the batch in which it was there.
  epochs_.quiet(0);
  named_[last] = true;
  EXPECT_EQ(add(1), 0);
  named_[last] = false;
  EXPECT_EQ(add(1), last);
  epochs_.offline(0);
}

}  // namespace
}  // namespace weir::conntrack
