#include "conntrack/proto/gre.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

constexpr HashKey kKey{};
const TimeoutList kTimeouts{30, 180};

Tuple tuple(std::uint16_t destination_key, std::uint16_t source_key = 0) {
  return {.src = wire::Address::ip(0x0a000002),
          .dst = wire::Address::ip(0xc6336401),
          .src_port = Be16::from_host(source_key),
          .dst_port = Be16::from_host(destination_key),
          .family = wire::Family::ip,
          .protocol = wire::protocol::kGre};
}

TEST(Gre, AnsweredItIsAStream) {
  EXPECT_EQ(track_gre({}, kTimeouts).timeout, 30s);
  const Step step = track_gre({.seen_reply = true}, kTimeouts);
  EXPECT_EQ(step.timeout, 180s);
  EXPECT_TRUE(step.assured);
}

TEST(Gre, VersionZeroHasNoKeysForUs) {
  const std::vector<std::uint8_t> bytes = {0x20, 0, 0x08, 0, 0, 0, 0, 5};
  Tuple packet = tuple(9, 9);
  EXPECT_TRUE(read_gre_keys(bytes, nullptr, packet));
  EXPECT_EQ(packet, tuple(0, 0));
}

TEST(Gre, VersionOneNamesItsReceiversCall) {
  std::vector<std::uint8_t> bytes = {0x30, 1, 0x88, 0x0b, 0, 0, 0, 7};
  Tuple packet = tuple(0);
  EXPECT_TRUE(read_gre_keys(bytes, nullptr, packet));
  EXPECT_EQ(packet, tuple(7, 0));
  GreKeymap keymap(kKey);
  ASSERT_TRUE(keymap.add(tuple(7, 3), 1, 1));
  EXPECT_TRUE(read_gre_keys(bytes, &keymap, packet));
  EXPECT_EQ(packet, tuple(7, 3));
  bytes[2] = 0x08;  // No PPP.
  EXPECT_FALSE(read_gre_keys(bytes, &keymap, packet));
}

TEST(Gre, AHeaderThatIsCutShortHasNoKeys) {
  const std::vector<std::uint8_t> bytes = {0x30, 1, 0x88, 0x0b, 0, 0, 0};
  Tuple packet = tuple(9, 9);
  EXPECT_TRUE(read_gre_keys(bytes, nullptr, packet));
  EXPECT_EQ(packet, tuple(0, 0));
}

TEST(GreKeymap, HoldsSourceKeysUntilTheirConnectionGoes) {
  GreKeymap keymap(kKey);
  EXPECT_EQ(keymap.find(tuple(7)), Be16{});
  EXPECT_TRUE(keymap.add(tuple(7, 3), 1, 1));
  EXPECT_TRUE(keymap.add(tuple(8, 4), 2, 1));
  EXPECT_EQ(keymap.find(tuple(7)), Be16::from_host(3));
  EXPECT_EQ(keymap.find(tuple(9)), Be16{});
  EXPECT_TRUE(keymap.add(tuple(7, 5), 1, 1));  // Said again, otherwise.
  EXPECT_EQ(keymap.find(tuple(7)), Be16::from_host(5));
  EXPECT_EQ(keymap.size(), 2u);
  keymap.remove(1, 2);  // Another life of that number.
  EXPECT_EQ(keymap.size(), 2u);
  keymap.remove(1, 1);
  EXPECT_EQ(keymap.find(tuple(7)), Be16{});
  EXPECT_EQ(keymap.find(tuple(8)), Be16::from_host(4));
}

TEST(GreKeymap, RefusesWhatItHasNoRoomFor) {
  GreKeymap keymap(kKey);
  bool was_refused = false;
  for (std::uint32_t i = 0; i < 65536 && !was_refused; ++i) {
    was_refused = !keymap.add(tuple(static_cast<std::uint16_t>(i), 1), 1, 1);
  }
  EXPECT_TRUE(was_refused);
  EXPECT_GT(keymap.size(), 1000u);
  keymap.remove(1, 1);
  EXPECT_EQ(keymap.size(), 0u);
}

}  // namespace
}  // namespace weir::conntrack
