#include "engine/state.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/temporary_folder.h"
#include "conntrack/arena.h"

namespace weir::engine {
namespace {

namespace fs = std::filesystem;

class StateTest : public testing::Test {
 protected:
  std::string folder() const { return folder_.file("state"); }
  std::string file(const std::string& name) const { return folder() + "/" + name; }

  static std::string read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  /// An arena of 10 entries as an engine leaves it.
  void leave_connections() {
    const auto state = State::open(folder());
    ASSERT_TRUE(state) << state.error().text;
    ASSERT_TRUE(conntrack::Arena::open(10, state->connections_fd(), std::nullopt));
  }
  /// Changes the arena's header at `at`.
  void spoil(std::size_t at) {
    std::string text = read(file("connections"));
    text[at] = static_cast<char>(text[at] + 1);
    write(file("connections"), text);
  }

  TemporaryFolder folder_ = std::move(*TemporaryFolder::make("state"));
};

TEST_F(StateTest, OneEngineAFolder) {
  const auto first = State::open(folder());
  ASSERT_TRUE(first) << first.error().text;
  const auto second = State::open(folder());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
  EXPECT_NE(second.error().text.find("--replace"), std::string::npos);
  // The lock of the running one, handed over, is as good.
  ASSERT_TRUE(conntrack::Arena::open(10, first->connections_fd(), std::nullopt));
  EXPECT_TRUE(State::take_over(folder(), FileDescriptor(dup(first->lock_fd()))));
}

TEST_F(StateTest, TheFolderIsForNobodyElse) {
  ASSERT_TRUE(State::open(folder()));
  EXPECT_EQ(fs::status(folder()).permissions() & fs::perms::others_all, fs::perms::none);
  EXPECT_EQ(fs::status(file("connections")).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(StateTest, WhatAnEngineLeftIsFoundAgain) {
  leave_connections();
  const auto state = State::open(folder());
  ASSERT_TRUE(state);
  EXPECT_TRUE(state->notes().empty());
  const auto arena = conntrack::Arena::open(10, state->connections_fd(), std::nullopt);
  ASSERT_TRUE(arena);
  EXPECT_TRUE(arena->is_recovered());
}

TEST_F(StateTest, AnotherLayoutIsKeptAside) {
  leave_connections();
  spoil(8);  // The layout's version.
  const std::string before = read(file("connections"));
  const auto state = State::open(folder());
  ASSERT_TRUE(state) << state.error().text;
  ASSERT_EQ(state->notes().size(), 1u);
  EXPECT_NE(state->notes()[0].find("another version"), std::string::npos);
  EXPECT_EQ(read(file("connections.old")), before);
  EXPECT_FALSE(conntrack::Arena::open(10, state->connections_fd(), std::nullopt)->is_recovered());
}

TEST_F(StateTest, AnotherLayoutIsNotTakenOver) {
  leave_connections();
  spoil(8);
  const std::string before = read(file("connections"));
  const auto state = State::take_over(folder(), {});
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().code, EINVAL);
  EXPECT_EQ(read(file("connections")), before);
  EXPECT_FALSE(fs::exists(file("connections.old")));
}

TEST_F(StateTest, AnotherBootIsForgotten) {
  leave_connections();
  spoil(22);  // The boot's id.
  const auto state = State::open(folder());
  ASSERT_TRUE(state);
  ASSERT_EQ(state->notes().size(), 1u);
  EXPECT_NE(state->notes()[0].find("another boot"), std::string::npos);
  EXPECT_FALSE(conntrack::Arena::open(10, state->connections_fd(), std::nullopt)->is_recovered());
}

TEST_F(StateTest, DamageIsKeptAside) {
  for (const char* text : {"x",
                           "something that is no table at all, and longer than a header is: "
                           "........................................................."}) {
    leave_connections();
    write(file("connections"), text);
    const auto state = State::open(folder());
    ASSERT_TRUE(state) << state.error().text;
    ASSERT_EQ(state->notes().size(), 1u);
    EXPECT_NE(state->notes()[0].find("damaged"), std::string::npos);
    EXPECT_EQ(read(file("connections.old")), text);
  }
  leave_connections();
  fs::resize_file(file("connections"), 5000);  // Entries that were never used: no loss.
  EXPECT_TRUE(State::open(folder())->notes().empty());
  fs::resize_file(file("connections"), 50);
  EXPECT_FALSE(State::open(folder())->notes().empty());
}

TEST_F(StateTest, RulesAreReplacedWhole) {
  const auto state = State::open(folder());
  ASSERT_TRUE(state);
  EXPECT_FALSE(state->read_rules().value());
  const netlink::Buffer first(1000, 1), second(100000, 2);
  ASSERT_TRUE(state->write_rules(first));
  EXPECT_EQ(state->read_rules().value(), first);
  ASSERT_TRUE(state->write_rules(second));
  EXPECT_EQ(state->read_rules().value(), second);
  EXPECT_FALSE(fs::exists(file("rules.new")));
}

TEST_F(StateTest, DamagedRulesAreSaidToBe) {
  const auto state = State::open(folder());
  ASSERT_TRUE(state);
  ASSERT_TRUE(state->write_rules(netlink::Buffer(300, 7)));
  const std::string whole = read(file("rules"));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string spoiled = whole;
    spoiled[at] = static_cast<char>(spoiled[at] ^ 1);
    write(file("rules"), spoiled);
    const auto rules = state->read_rules();
    EXPECT_FALSE(rules && *rules) << at;
    write(file("rules"), whole.substr(0, at));
    EXPECT_FALSE(state->read_rules()) << at;
  }
  state->set_rules_aside();
  EXPECT_FALSE(state->read_rules().value());
  EXPECT_TRUE(fs::exists(file("rules.old")));
}

}  // namespace
}  // namespace weir::engine
