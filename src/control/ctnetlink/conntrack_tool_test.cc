#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"
#include "control/ctnetlink/ctnetlink.h"
#include "control/ctnetlink/events.h"
#include "control/server/server_fixture.h"

/// The unmodified conntrack tool against a real table.
namespace weir::control::testing {
namespace {

using namespace std::chrono_literals;

constexpr Time kNow = Time(1000s);
Time fixed_now() { return kNow; }

class ConntrackTool : public ::testing::Test {
 protected:
  ConntrackTool()
      : table_(std::move(*conntrack::Table::create(
            {.max = 1000, .sysctl = {.timestamp = 0, .tcp_knobs = {}}}, kNow))),
        socket_(directory_.file("weir.sock")),
        thread_({.socket_path = socket_}),
        ctnetlink_(*table_, table_->control_participant(0), fixed_now),
        events_(*table_, thread_.server(), fixed_now) {
    thread_.server().add(ctnetlink_);
    tracker().online();
    table_->set_waker(
        [](void* self, std::uint32_t) {
          static_cast<ConntrackTool*>(self)->tracker().serve_mailbox(kNow);
        },
        this);
  }
  ~ConntrackTool() override { thread_.stop(); }

  conntrack::Tracker& tracker() { return table_->tracker(0); }
  Output conntrack(const std::string& arguments, const std::string& then = "") {
    return run_tool(socket_, "conntrack " + arguments + " 2>/dev/null" + then);
  }
  /// A UDP flow from 192.0.2.1:`port` to 198.51.100.1:2000.
  void pass(std::uint16_t port) {
    conntrack::TestPacket packet{wire::FrameSpec{.src_port = port}};
    packet.again();
    packet::Batch batch = conntrack::batch_of(kNow, {&packet});
    packet::Batch later;
    tracker().track(batch, later);
    ASSERT_EQ(tracker().confirm(packet, kNow), conntrack::Confirmed::done);
  }
  static std::string line(int port, const std::string& counters, const std::string& mark = "0") {
    const std::string sport = std::to_string(port);
    return "udp      17 30 src=192.0.2.1 dst=198.51.100.1 sport=" + sport + " dport=2000 " +
           counters + "[UNREPLIED] src=198.51.100.1 dst=192.0.2.1 sport=2000 dport=" + sport +
           " packets=0 bytes=0 mark=" + mark + " use=1\n";
  }

  TemporaryDirectory directory_;
  std::unique_ptr<conntrack::Table> table_;
  std::string socket_;
  ServerThread thread_;
  Ctnetlink ctnetlink_;
  ConnectionEvents events_;
};

TEST_F(ConntrackTool, ListsCountsAndGets) {
  pass(1001);
  pass(1002);
  thread_.start();
  EXPECT_EQ(conntrack("-C").text, "2\n");
  const std::string counters = "packets=1 bytes=28 ";
  std::string first = line(1001, counters), second = line(1002, counters);
  const Output list = conntrack("-L", " | sort");
  EXPECT_EQ(list.text, first + second);
  EXPECT_EQ(conntrack("-L -f ipv6").text, "");
  EXPECT_EQ(conntrack("-L -p tcp").text, "");
  const Output got = conntrack("-G -p udp -s 192.0.2.1 -d 198.51.100.1 --sport 1002 --dport 2000");
  EXPECT_NE(got.text.find("sport=1002"), std::string::npos) << got.text;
  EXPECT_NE(conntrack("-G -p udp -s 192.0.2.1 -d 198.51.100.1 --sport 9 --dport 2000").status, 0);
}

TEST_F(ConntrackTool, DeletesOneAndFlushesAll) {
  for (std::uint16_t port = 1001; port <= 1005; ++port) pass(port);
  thread_.start();
  EXPECT_EQ(conntrack("-D -p udp --sport 1003").status, 0);
  EXPECT_EQ(conntrack("-C").text, "4\n");
  EXPECT_EQ(conntrack("-L", " | grep -c sport=1003").text, "0\n");
  EXPECT_EQ(conntrack("-F").status, 0);
  EXPECT_EQ(conntrack("-C").text, "0\n");
}

TEST_F(ConntrackTool, ListsAndZeroesCounters) {
  pass(1001);
  thread_.start();
  EXPECT_NE(conntrack("-L -z").text.find("packets=1 bytes=28"), std::string::npos);
  EXPECT_NE(conntrack("-L").text.find("packets=0 bytes=0 [UNREPLIED]"), std::string::npos);
}

TEST_F(ConntrackTool, ZeroesEachOfManyOnce) {
  for (std::uint16_t port = 1; port <= 500; ++port) pass(port);
  thread_.start();
  EXPECT_EQ(conntrack("-L -z", " | grep -c \"packets=1 bytes=28 .UNREPLIED\"").text, "500\n");
  EXPECT_EQ(conntrack("-L -z", " | grep -c \"packets=0 bytes=0 .UNREPLIED\"").text, "500\n");
}

TEST_F(ConntrackTool, ShowsWorkersStatistics) {
  thread_.start();
  EXPECT_EQ(conntrack("-S").text,
            "cpu=0   \tfound=0 invalid=0 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 "
            "search_restart=0 clash_resolve=0 chaintoolong=0 \n");
}

/// As with the kernel, a request that names no family (`conntrack -U` without -f) gets EOPNOTSUPP.
TEST_F(ConntrackTool, ChangesMarksAndListsByThem) {
  pass(1001);
  pass(1002);
  thread_.start();
  EXPECT_EQ(conntrack("-U -f ipv4 -p udp --sport 1002 -m 7").status, 0);
  EXPECT_EQ(conntrack("-U -p udp --sport 1001 -m 7").status, 1);
  const Output marked = conntrack("-L -m 7");
  EXPECT_NE(marked.text.find("sport=1002"), std::string::npos) << marked.text;
  EXPECT_EQ(marked.text.find("sport=1001"), std::string::npos) << marked.text;
}

TEST_F(ConntrackTool, MakesChangesAndDeletesConnections) {
  thread_.start();
  const std::string flow = "-p tcp -s 1.2.3.4 -d 5.6.7.8 --sport 1 --dport 2 ";
  EXPECT_EQ(conntrack("-I " + flow + "-t 30 --state ESTABLISHED -u SEEN_REPLY,ASSURED").status, 0);
  EXPECT_EQ(conntrack("-I " + flow + "-t 30 --state ESTABLISHED").status, 1) << "it exists";
  EXPECT_NE(conntrack("-L").text.find("tcp      6 30 ESTABLISHED src=1.2.3.4"), std::string::npos);
  EXPECT_EQ(conntrack("-U " + flow + "-m 7 -t 90 --state FIN_WAIT").status, 0);
  const Output changed = conntrack("-L");
  EXPECT_NE(changed.text.find("tcp      6 90 FIN_WAIT src=1.2.3.4"), std::string::npos)
      << changed.text;
  EXPECT_NE(changed.text.find("[ASSURED] mark=7"), std::string::npos) << changed.text;
  EXPECT_EQ(conntrack("-D " + flow).status, 0);
  EXPECT_EQ(conntrack("-C").text, "0\n");
}

TEST_F(ConntrackTool, PrintsEvents) {
  EXPECT_EQ(table_->wanted_events(), 0u);
  thread_.start();
  std::thread traffic([&] {
    while (table_->wanted_events() == 0) std::this_thread::sleep_for(1ms);
    thread_.post([&] {
      pass(1001);
      while (events_.publish(100)) {
      }
    });
    conntrack("-D -p udp --sport 1001");
    thread_.post([&] { EXPECT_EQ(events_.publish(100), 1u); });
  });
  const Output output = run_tool(socket_, "timeout -s INT 1 conntrack -E 2>/dev/null; true");
  traffic.join();
  EXPECT_NE(output.text.find("[NEW] udp      17 30 src=192.0.2.1"), std::string::npos)
      << output.text;
  EXPECT_NE(output.text.find("[DESTROY] udp      17"), std::string::npos) << output.text;
  thread_.stop();
  EXPECT_EQ(table_->wanted_events(), 0u) << "nobody listens any more";
}

}  // namespace
}  // namespace weir::control::testing
