#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/epoch.h"
#include "control/nftables/nftables.h"
#include "control/recording.h"
#include "rules/ruleset.h"

/// What the kernel answered to nft and told a monitor, byte for byte (tests/golden/nftables).
namespace weir::control::testing {
namespace {

std::size_t replay_against_nftables(const std::string& name) {
  TemporaryDirectory directory;
  Epochs epochs(1);
  rules::Ruleset ruleset(epochs);
  ServerThread server(
      {.socket_path = directory.file("socket"), .socket_file = {.mode = 0600}, .access = {}});
  Nftables nftables(ruleset, server.server());
  server.server().add(nftables);
  server.start();
  const auto act = [&](const std::string& what) {
    ASSERT_TRUE(what.starts_with("chains ")) << what;
    for (int made = std::stoi(what.substr(7)); made > 0; --made) ruleset.next_chain_number();
  };
  const std::size_t compared =
      replay(read_recording("nftables/" + name), directory.file("socket"), act);
  server.stop();
  return compared;
}

TEST(NftablesGolden, AnswersQuestionsAsTheKernelDid) {
  EXPECT_GT(replay_against_nftables("answers.txt"), 300u);
}

TEST(NftablesGolden, TellsOfEveryStepAsTheKernelDid) {
  EXPECT_GT(replay_against_nftables("steps.txt"), 100u);
}

}  // namespace
}  // namespace weir::control::testing
