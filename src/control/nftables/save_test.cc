#include "control/nftables/save.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/epoch.h"
#include "control/nftables/nftables.h"
#include "control/server/server_fixture.h"
#include "rules/ruleset.h"

namespace weir::control {
namespace {

using testing::Output;

/// A ruleset that no worker runs, which the real nft reads and writes.
class Served {
 public:
  Served() : server_({.socket_path = socket(), .socket_file = {.mode = 0600}, .access = {}}) {
    nftables_ = std::make_unique<Nftables>(ruleset_, server_.server());
    server_.server().add(*nftables_);
    server_.start();
  }
  ~Served() { server_.stop(); }

  Output run(const std::string& command) { return testing::run_tool(socket(), command); }
  netlink::Buffer save() {
    netlink::Buffer saved;
    server_.post([&] { save_ruleset(ruleset_, saved); });
    return saved;
  }
  Result<void> restore(Bytes saved) {
    Result<void> result;
    server_.post([&] { result = restore_ruleset(ruleset_, saved); });
    return result;
  }
  rules::Ruleset& ruleset() { return ruleset_; }

 private:
  std::string socket() const { return directory_.file("socket"); }

  testing::TemporaryDirectory directory_;
  Epochs epochs_{1};
  rules::Ruleset ruleset_{epochs_};
  testing::ServerThread server_;
  std::unique_ptr<Nftables> nftables_;
};

std::filesystem::path folder() {
  const std::filesystem::path here = __FILE__;
  return (here.parent_path() / "../../../tests/rulesets").lexically_normal();
}

std::vector<std::string> rulesets() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() == ".nft") files.push_back(entry.path().stem());
  }
  std::ranges::sort(files);
  return files;
}

class SavedRules : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::run("nft --version").status != 0) GTEST_SKIP() << "there is no nft here";
  }
  void load(const std::string& text) {
    const Output done = before_.run("nft '" + text + "'");
    ASSERT_EQ(done.status, 0) << done.text;
  }
  /// Saved and made again, with all that nft shows, handles included.
  void expect_restored() {
    const std::string text = before_.run("nft -a list ruleset").text;
    const Result<void> restored = after_.restore(before_.save());
    ASSERT_TRUE(restored) << restored.error().text;
    EXPECT_EQ(after_.run("nft -a list ruleset").text, text);
    EXPECT_EQ(after_.run("nft --json list ruleset").text,
              before_.run("nft --json list ruleset").text);
    EXPECT_EQ(after_.ruleset().generation(), before_.ruleset().generation());
  }

  Served before_;
  Served after_;
};

class SavedFile : public SavedRules, public ::testing::WithParamInterface<std::string> {};

TEST_P(SavedFile, IsRestoredWithItsHandles) {
  const std::string file = (folder() / (GetParam() + ".nft")).string();
  const Output loaded = before_.run("nft -f " + file);
  ASSERT_EQ(loaded.status, 0) << loaded.text;
  expect_restored();
  // Handles go on from where they were.
  const std::string more =
      "sh -c \"nft -a -e add table ip late '{ chain c { counter; }; }' | grep -v generation\"";
  EXPECT_EQ(after_.run(more).text, before_.run(more).text);
}

INSTANTIATE_TEST_SUITE_P(Files, SavedFile, ::testing::ValuesIn(rulesets()),
                         [](const auto& info) { return info.param; });

TEST_F(SavedRules, RulesThatWereInsertedAndReplacedKeepTheirPlaces) {
  load("add table inet t { chain c { type filter hook input priority 0; policy drop; }; }");
  load("add rule inet t c tcp dport 1 accept");
  load("insert rule inet t c tcp dport 2 accept");
  load("add rule inet t c tcp dport { 3, 4 } accept");
  load("replace rule inet t c handle 2 udp dport { 5, 6 } jump { ct mark 1 jump { accept; }; }");
  load("delete rule inet t c handle 3");
  load("insert rule inet t c ip saddr vmap { 10.0.0.1 : accept, 10.0.0.2 : drop }");
  expect_restored();
}

TEST_F(SavedRules, BaseChainsOfOnePriorityKeepTheirOrder) {
  load("add table ip a; add table ip b; add chain ip b one { type filter hook input priority 0; }");
  load("add chain ip a two { type filter hook input priority 0; }");
  load("add chain ip b three { type filter hook input priority 0; }");
  expect_restored();
  std::vector<std::uint64_t> registered[2];
  Served* const both[] = {&before_, &after_};
  for (int i = 0; i < 2; ++i) {
    both[i]->ruleset().tables.for_each([&](rules::Table& table) {
      table.chains.for_each(
          [&](rules::Chain& chain) { registered[i].push_back(chain.base->registered); });
    });
  }
  EXPECT_EQ(registered[0], registered[1]);
}

TEST_F(SavedRules, StateIsKept) {
  load(
      "add table inet t { counter n { packets 7 bytes 700 }; quota q { 10 bytes used 10 bytes }; "
      "}");
  load("add chain inet t c; add rule inet t c counter packets 5 bytes 50 counter name n");
  load("add rule inet t c quota over 1 mbytes used 2 kbytes drop");
  load("add set inet t s { type ipv4_addr; size 100; counter; }");
  load("add element inet t s { 10.0.0.1 counter packets 3 bytes 300, 10.0.0.2 }");
  load("add map inet t m { type ipv4_addr : counter; }; add element inet t m { 10.0.0.3 : n }");
  expect_restored();
}

TEST_F(SavedRules, ElementsGoOnExpiringWhileNobodyRuns) {
  load("add table inet t { set s { type ipv4_addr; flags timeout; }; }");
  load("add element inet t s { 10.0.0.1 timeout 1h, 10.0.0.2 timeout 100ms }");
  const netlink::Buffer saved = before_.save();
  testing::run("sleep 0.2");
  const Result<void> restored = after_.restore(saved);
  ASSERT_TRUE(restored) << restored.error().text;
  const std::string text = after_.run("nft list ruleset").text;
  EXPECT_NE(text.find("10.0.0.1 timeout 1h expires 59m59s"), std::string::npos) << text;
  EXPECT_EQ(text.find("10.0.0.2"), std::string::npos) << text;
}

TEST_F(SavedRules, DamageIsRefusedAndChangesNothing) {
  const Output loaded = before_.run("nft -f " + (folder() / rulesets().front()).string() + ".nft");
  ASSERT_EQ(loaded.status, 0) << loaded.text;
  const netlink::Buffer saved = before_.save();
  for (std::size_t length = 0; length < saved.size(); length += 1 + length / 16) {
    EXPECT_FALSE(after_.restore(Bytes(saved).first(length))) << length;
  }
  // A flipped bit may leave something that makes sense; then it is taken back by hand.
  for (std::size_t at = 0; at < saved.size(); ++at) {
    netlink::Buffer spoiled = saved;
    spoiled[at] ^= static_cast<std::uint8_t>(1u << at % 8);
    Epochs epochs{1};
    rules::Ruleset ruleset{epochs};
    if (restore_ruleset(ruleset, spoiled)) continue;
    EXPECT_TRUE(ruleset.tables.is_empty()) << at;
    EXPECT_EQ(ruleset.generation(), 1u) << at;
  }
  EXPECT_EQ(after_.run("nft list ruleset").text, "");
  EXPECT_TRUE(after_.restore(saved));
}

}  // namespace
}  // namespace weir::control
