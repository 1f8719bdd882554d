#include <gtest/gtest.h>

#include "conntrack/table.h"
#include "control/cttimeout/cttimeout.h"
#include "control/server/server_fixture.h"

/// The unmodified nfct tool: what it gets from the kernel in an empty network namespace, it gets
/// from the engine.
namespace weir::control::testing {
namespace {

constexpr Time kNow = Time(std::chrono::seconds(1000));

constexpr const char* kScript =
    "{ nfct timeout add web inet tcp established 100 close 4;"
    "  nfct timeout add web6 inet6 udp unreplied 7;"
    "  nfct timeout add sctp1 inet sctp established 99 shutdown_sent 5;"
    "  nfct timeout add gre1 inet gre unreplied 5;"
    "  nfct timeout add icmp1 inet icmp timeout 13;"
    "  nfct timeout add icmp6 inet6 icmpv6 timeout 14;"
    "  nfct timeout add all inet generic timeout 44;"
    "  nfct timeout add lite inet udplite replied 12;"
    "  nfct timeout add web6 inet6 udp unreplied 8;"  // There is one.
    "  nfct timeout add a-name-of-more-than-thirty-one-characters inet udp unreplied 8;"
    "  nfct timeout get web;"
    "  nfct timeout get nothing;"
    "  nfct timeout list;"
    "  nfct timeout delete web6;"
    "  nfct timeout delete web6;"
    "  nfct timeout default-get inet tcp;"
    "  nfct timeout default-set inet udp unreplied 35;"
    "  nfct timeout default-get inet udp;"
    "  nfct timeout default-get inet udplite;"
    "  nfct timeout add later inet udp replied 9;"
    "  nfct timeout get later;"
    "  nfct timeout default-get inet sctp;"
    "  nfct timeout flush;"
    "  nfct timeout list; } 2>&1";

class NfctTool : public ::testing::Test {
 protected:
  NfctTool()
      : table_(std::move(*conntrack::Table::create({.max = 1000}, kNow))),
        socket_(directory_.file("weir.sock")),
        thread_({.socket_path = socket_}),
        cttimeout_(*table_, table_->control_participant(0), [] { return kNow; }) {
    thread_.server().add(cttimeout_);
    thread_.start();
  }
  ~NfctTool() override { thread_.stop(); }

  TemporaryDirectory directory_;
  std::unique_ptr<conntrack::Table> table_;
  std::string socket_;
  ServerThread thread_;
  Cttimeout cttimeout_;
};

TEST_F(NfctTool, GetsFromTheEngineWhatItGetsFromTheKernel) {
  const std::string script = "sh -c '" + std::string(kScript) + "'";
  const std::string in_namespace = "unshare --net " + script;
  if (std::system("unshare --net true 2>/dev/null") != 0) {
    GTEST_SKIP() << "it needs root for a network namespace";
  }
  FILE* const pipe = popen(in_namespace.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string kernel;
  for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) kernel += static_cast<char>(c);
  pclose(pipe);
  EXPECT_NE(kernel.find(".UNREPLIED = 35"), std::string::npos) << kernel;
  EXPECT_EQ(run_tool(socket_, script).text, kernel);
}

TEST_F(NfctTool, SetsTheKnobs) {
  run_tool(socket_, "nfct timeout default-set inet tcp established 77");
  thread_.stop();
  EXPECT_EQ(table_->sysctl().tcp.at(3).get(), 77u);
}

TEST_F(NfctTool, DccpHasTimeoutsHere) {
  EXPECT_EQ(run_tool(socket_, "nfct timeout add d inet dccp open 12").status, 0);
  const Output got = run_tool(socket_, "nfct timeout get d");
  EXPECT_NE(got.text.find(".OPEN = 12"), std::string::npos) << got.text;
}

}  // namespace
}  // namespace weir::control::testing
