// The mirror against the kernel that it mirrors: in a network namespace of its own, every key is
// looked up in weir's tables and by `ip route get`, and both answer alike.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "routing/mirror.h"

namespace weir::routing {
namespace {

using namespace std::chrono_literals;
using wire::Family;

std::string run(const std::string& command) {
  std::string output;
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  char piece[4096];
  while (const std::size_t got = fread(piece, 1, sizeof piece, pipe)) output.append(piece, got);
  pclose(pipe);
  return output;
}

/// What either side says of a key; text, so that a failure shows both.
struct Answer {
  std::string type{};
  std::string dev{};
  std::string via{};
  std::string src{};
  bool operator==(const Answer&) const = default;
  friend void PrintTo(const Answer& a, std::ostream* out) {
    *out << a.type << " dev " << a.dev << " via " << a.via << " src " << a.src;
  }
};

struct Query {
  std::string dst;
  std::string from = {};
  std::string iif = {};
  std::string oif = {};
  std::uint32_t mark = 0;
  bool is_tos_0x10 = false;

  std::string text() const {
    std::string text = "ip route get " + dst;
    if (!from.empty()) text += " from " + from;
    if (!iif.empty()) text += " iif " + iif;
    if (!oif.empty()) text += " oif " + oif;
    if (mark != 0) text += " mark " + std::to_string(mark);
    if (is_tos_0x10) text += " tos 0x10";
    return text;
  }
};

/// Reads `ip route get`'s first line, or its error.
Answer kernel_answer(const Query& query) {
  const std::string output = run(query.text());
  if (output.find("Network is unreachable") != std::string::npos) return {.type = "none"};
  if (output.find("No route to host") != std::string::npos) return {.type = "unreachable"};
  if (output.find("Permission denied") != std::string::npos) return {.type = "prohibit"};
  if (output.find("Invalid argument") != std::string::npos) return {.type = "blackhole"};
  if (output.find("RTNETLINK") != std::string::npos) return {.type = output};
  std::istringstream words(output);
  Answer answer{.type = "unicast"};
  std::string word;
  words >> word;
  const std::set<std::string> types = {"local",       "broadcast", "multicast", "anycast",
                                       "unreachable", "blackhole", "prohibit"};
  if (types.contains(word)) answer.type = word;
  while (words >> word) {
    if (word == "via") {
      words >> word;
      if (word == "inet6" || word == "inet") words >> word;
      answer.via = word;
    } else if (word == "dev") {
      words >> answer.dev;
    } else if (word == "src") {
      words >> answer.src;
    }
  }
  const bool is_error = types.contains(word) || answer.type == "unreachable" ||
                        answer.type == "blackhole" || answer.type == "prohibit";
  return is_error ? Answer{.type = answer.type} : answer;
}

class Live : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
    home_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "network namespaces are not allowed here";
    ip("link set lo up");
  }
  void TearDown() override {
    mirror_.reset();
    if (home_ >= 0) {
      EXPECT_EQ(setns(home_, CLONE_NEWNET), 0);
      close(home_);
    }
  }

  void ip(const std::string& arguments) {
    EXPECT_EQ(run("ip " + arguments), "") << "ip " << arguments;
  }

  /// Two interfaces with addresses of both families; their peers are in the namespace too and are
  /// up.
  void make_links() {
    for (const std::string name : {"lan", "wan"}) {
      ip("link add " + name + " type veth peer name " + name + "-peer");
      run("sysctl -qw net.ipv6.conf." + name + ".accept_dad=0");
      ip("link set " + name + "-peer up");
      ip("link set " + name + " up");
    }
    ip("addr add 10.1.0.1/24 brd + dev lan");
    ip("addr add 10.1.9.1/24 dev lan");
    ip("addr add 192.0.2.2/24 brd + dev wan");
    ip("addr add 198.51.100.1 peer 198.51.100.2/32 dev wan");
    ip("-6 addr add 2001:db8:1::1/64 dev lan nodad");
    ip("-6 addr add 2001:db8:2::2/64 dev wan nodad");
    ip("-6 addr add fd00:2::2/64 dev wan nodad");
    run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lan.rp_filter=0 "
        "net.ipv4.conf.wan.rp_filter=0");
    // Link-local addresses and carriers settle.
    usleep(300'000);
  }

  void open_mirror() {
    auto opened = Mirror::open(database_, neighbours_, &listener_);
    ASSERT_TRUE(opened) << opened.error().text;
    mirror_ = std::move(*opened);
  }

  /// Takes in what the kernel has told so far, and does the timed work as if much time had passed.
  void catch_up() {
    pollfd waiting{.fd = mirror_->fd(), .events = POLLIN, .revents = 0};
    while (poll(&waiting, 1, 100) > 0) ASSERT_TRUE(mirror_->on_readable(now_));
    now_ += 10s;
    ASSERT_TRUE(mirror_->tick(now_));
  }

  std::string name_of(std::uint32_t ifindex) {
    const Link* link = database_.view().link(ifindex);
    return link == nullptr ? "" : link->name;
  }

  Answer our_answer(const Query& query) {
    const View& view = database_.view();
    const auto dst = wire::parse_address(query.dst);
    FlowKey key{.family = dst->family,
                .tos = static_cast<std::uint8_t>(query.is_tos_0x10 ? 0x10 : 0),
                .dst = dst->address,
                .mark = query.mark};
    if (!query.from.empty()) key.src = wire::parse_address(query.from)->address;
    if (!query.iif.empty()) key.iif = view.link(query.iif)->ifindex;
    if (!query.oif.empty()) key.oif = view.link(query.oif)->ifindex;
    Route route;
    if (query.iif.empty()) {
      route = view.lookup(key);
    } else {
      const InputDecision decision = view.input(key);
      if (decision.drop == packet::Drop::not_forwardable_source ||
          decision.drop == packet::Drop::not_forwardable_destination ||
          decision.drop == packet::Drop::reverse_path)
        return {.type = "blackhole"};  // The kernel says EINVAL to all of them.
      route = decision.route;
    }
    static const char* const kNames[] = {"none",      "unicast",     "local",
                                         "broadcast", "anycast",     "multicast",
                                         "blackhole", "unreachable", "prohibit"};
    Answer answer{.type = kNames[static_cast<int>(route.type)]};
    if (!route.is_found() || route.type >= RouteType::blackhole) return answer;
    answer.dev = name_of(route.out_ifindex);
    if (route.has_gateway) answer.via = to_string(route.next_hop, route.next_hop_family);
    if (query.iif.empty() && query.from.empty())
      answer.src = to_string(view.source_for(key.family, key.dst, route), key.family);
    return answer;
  }

  void expect_same(const Query& query) {
    Answer kernel = kernel_answer(query);
    Answer ours = our_answer(query);
    // The kernel shows the loopback device for what it delivers to itself.
    if (kernel.type == "local" || (kernel.type == "broadcast" && !query.iif.empty()))
      kernel.dev = ours.dev;
    if (!query.iif.empty() || !query.from.empty()) kernel.src = ours.src;
    EXPECT_EQ(ours, kernel) << query.text();
  }

  void expect_all_same(const std::vector<std::string>& destinations) {
    for (const std::string& dst : destinations) expect_same(Query{.dst = dst});
  }

  struct Listener : MirrorListener {
    void address_gone(const InterfaceAddress& address) override {
      gone.push_back(to_string(address.local, address.family));
    }
    void link_gone(const Link& link, bool is_removed) override {
      gone.push_back((is_removed ? "removed " : "down ") + link.name);
    }
    void neighbour_changed(const NeighbourKey& key, const Neighbour& neighbour) override {
      if (neighbour.status == Neighbour::Status::resolved)
        resolved.push_back(to_string(key.address, key.family));
      if (neighbour.status == Neighbour::Status::failed)
        failed.push_back(to_string(key.address, key.family));
    }
    std::vector<std::string> gone, resolved, failed;
  };

  int home_ = -1;
  Time now_{1000s};
  Listener listener_;
  Database database_;
  Neighbours neighbours_;
  std::unique_ptr<Mirror> mirror_;
};

const std::vector<std::string> kDestinations = {
    "10.1.0.1",        "10.1.0.77",
    "10.1.0.255",      "10.1.0.0",
    "10.1.9.5",        "192.0.2.2",
    "192.0.2.1",       "192.0.2.255",
    "198.51.100.1",    "198.51.100.2",
    "203.0.113.9",     "8.8.8.8",
    "127.0.0.1",       "127.9.9.9",
    "10.20.0.5",       "10.20.30.5",
    "10.20.30.40",     "10.66.0.1",
    "10.67.0.1",       "10.68.0.1",
    "10.69.0.1",       "172.16.5.5",
    "172.16.5.200",    "2001:db8:1::1",
    "2001:db8:1::99",  "2001:db8:2::1",
    "2001:db8:5::1",   "2001:db8:66::1",
    "2001:db8:67::1",  "2001:db8:68::1",
    "2001:4860::1",    "fd00:2::9",
    "fd00:9::9",       "::1",
    "2001:db8:5:1::7",
};

TEST_F(Live, AgreesOnRoutesOfAllTypes) {
  make_links();
  ip("route add default via 192.0.2.1");
  ip("route add 10.20.0.0/16 via 10.1.0.254");
  ip("route add 10.20.30.0/24 via 10.1.9.254 src 10.1.9.1");
  ip("route add 10.20.30.40 dev wan scope link");
  ip("route add blackhole 10.66.0.0/16");
  ip("route add unreachable 10.67.0.0/16");
  ip("route add prohibit 10.68.0.0/16");
  ip("route add throw 10.69.0.0/16");
  ip("route add 172.16.5.0/25 via 10.1.0.254 metric 50");
  ip("route add 172.16.5.0/25 via 192.0.2.1 metric 20");
  ip("route add 172.16.0.0/16 via inet6 fe80::1 dev lan");
  ip("-6 route add default via 2001:db8:2::1");
  ip("-6 route add 2001:db8:5::/48 via fe80::5 dev lan");
  ip("-6 route add 2001:db8:5:1::/64 via 2001:db8:2::7 metric 10");
  ip("-6 route add 2001:db8:5:1::/64 via 2001:db8:1::7 metric 5");
  ip("-6 route add blackhole 2001:db8:66::/48");
  ip("-6 route add unreachable 2001:db8:67::/48");
  ip("-6 route add prohibit 2001:db8:68::/48");
  open_mirror();
  expect_all_same(kDestinations);
}

TEST_F(Live, AgreesOnPolicyRules) {
  make_links();
  ip("route add default via 192.0.2.1");
  ip("route add default via 10.1.0.254 table 100");
  ip("route add throw 8.8.8.8 table 100");
  ip("route add default via 10.1.9.254 table 200");
  ip("-6 route add default via 2001:db8:2::1");
  ip("-6 route add default via 2001:db8:1::254 table 100");
  ip("rule add fwmark 0x5/0xf lookup 100 priority 1000");
  ip("rule add from 10.1.9.0/24 lookup 200 priority 1001");
  ip("rule add to 10.77.0.0/16 prohibit priority 1002");
  ip("rule add tos 0x10 lookup 100 priority 1003");
  ip("rule add iif lan to 10.78.0.0/16 blackhole priority 1004");
  ip("route add 10.79.0.0/16 via 192.0.2.1 table 300");
  ip("route add 10.77.1.0/24 via 192.0.2.1 table 300");
  ip("rule add not fwmark 7 to 10.79.0.0/16 lookup 300 priority 1005");
  ip("rule add to 10.82.0.0/16 unreachable priority 1011");
  ip("rule add fwmark 9 goto 2000 priority 1006");
  ip("rule add to 10.80.0.0/16 prohibit priority 1007");
  ip("rule add to 10.80.0.0/16 lookup 100 priority 2000");
  ip("rule add fwmark 11 lookup main suppress_prefixlength 0 priority 1008");
  ip("rule add fwmark 11 lookup 200 priority 1009");
  ip("rule add oif wan to 10.81.0.0/16 lookup 100 priority 1010");
  ip("-6 rule add fwmark 5 lookup 100 priority 1000");
  ip("-6 rule add from 2001:db8:1::/64 to fd00:9::/64 prohibit priority 1001");
  open_mirror();
  const std::vector<std::string> destinations = {"8.8.8.8",   "9.9.9.9",   "10.77.0.1", "10.78.0.1",
                                                 "10.79.0.1", "10.80.0.1", "10.81.0.1", "10.82.0.1",
                                                 "10.1.0.77", "10.77.1.1"};
  for (const std::string& dst : destinations) {
    for (const std::uint32_t mark : {0u, 5u, 0x25u, 7u, 9u, 11u})
      expect_same({.dst = dst, .mark = mark});
    expect_same({.dst = dst, .is_tos_0x10 = true});
    // Without a route out of the interface the kernel takes what it sends itself for on link.
    if (dst != "10.1.0.77" && dst.substr(0, 6) != "10.77." && dst.substr(0, 6) != "10.80." &&
        dst.substr(0, 6) != "10.82.")
      expect_same({.dst = dst, .oif = "wan"});
    expect_same({.dst = dst, .from = "10.1.0.1"});
    expect_same({.dst = dst, .from = "10.1.9.1"});
    expect_same({.dst = dst, .from = "10.1.0.77", .iif = "lan"});
    expect_same({.dst = dst, .from = "10.1.9.77", .iif = "lan", .mark = 5});
    expect_same({.dst = dst, .from = "203.0.113.7", .iif = "wan"});
  }
  for (const std::string dst : {"2001:4860::1", "fd00:9::9"}) {
    expect_same({.dst = dst});
    expect_same({.dst = dst, .mark = 5});
    expect_same({.dst = dst, .from = "2001:db8:1::77", .iif = "lan"});
  }
}

TEST_F(Live, AgreesOnWhatIsRefusedOfIncomingPackets) {
  make_links();
  ip("route add default via 192.0.2.1");
  ip("route add 10.20.0.0/16 via 10.1.0.254");
  for (const char* const filter : {"0", "1", "2"}) {
    run(std::string("sysctl -qw net.ipv4.conf.wan.rp_filter=") + filter);
    open_mirror();
    for (const std::string from : {"203.0.113.7", "10.20.0.9", "10.1.0.1", "10.1.0.255",
                                   "127.0.0.1", "224.0.0.9", "0.0.0.5", "192.0.2.50"}) {
      for (const std::string dst :
           {"10.1.0.77", "10.20.1.1", "192.0.2.2", "10.1.0.255", "127.0.0.5"})
        expect_same({.dst = dst, .from = from, .iif = "wan"});
    }
    mirror_.reset();
  }
}

TEST_F(Live, SpreadsFlowsOverMultipathByWeight) {
  make_links();
  ip("route add 203.0.113.0/24 nexthop via 192.0.2.1 weight 3 nexthop via 10.1.0.254 weight 1");
  ip("-6 route add 2001:db8:9::/48 nexthop via 2001:db8:2::1 weight 3 "
     "nexthop via 2001:db8:1::254 weight 1");
  open_mirror();
  for (const std::string dst : {"203.0.113.1", "2001:db8:9::1"}) {
    const auto to = wire::parse_address(dst);
    int wan = 0;
    std::set<std::string> gateways;
    for (int i = 0; i < 1000; ++i) {
      FlowKey key{.family = to->family, .dst = to->address};
      key.src.bytes[0] = 10;
      key.src.bytes[2] = static_cast<std::uint8_t>(i >> 8);
      key.src.bytes[3] = static_cast<std::uint8_t>(i);
      const Route route = database_.view().lookup(key);
      wan += name_of(route.out_ifindex) == "wan";
      gateways.insert(to_string(route.next_hop, route.next_hop_family));
      const Route again = database_.view().lookup(key);
      ASSERT_EQ(again.out_ifindex, route.out_ifindex) << "a flow stays on its way";
    }
    EXPECT_EQ(gateways.size(), 2u);
    EXPECT_NEAR(wan, 750, 60) << dst;
  }
  ip("link set wan down");
  catch_up();
  expect_all_same({"203.0.113.1", "2001:db8:9::1"});
}

TEST_F(Live, FollowsNexthopObjects) {
  make_links();
  ip("nexthop add id 1 via 192.0.2.1 dev wan");
  ip("nexthop add id 2 via 10.1.0.254 dev lan");
  ip("nexthop add id 3 group 1");
  ip("nexthop add id 4 blackhole");
  ip("nexthop add id 6 via 2001:db8:2::1 dev wan");
  ip("route add 203.0.113.0/24 nhid 3");
  ip("route add 10.20.0.0/16 nhid 2");
  ip("route add 10.21.0.0/16 nhid 4");
  ip("-6 route add 2001:db8:9::/48 nhid 6");
  open_mirror();
  const std::vector<std::string> all = {"203.0.113.1", "10.20.0.1", "10.21.0.1", "2001:db8:9::1"};
  expect_all_same(all);
  ip("nexthop replace id 3 group 2");
  ip("nexthop replace id 6 via 2001:db8:1::5 dev lan");
  catch_up();
  expect_all_same(all);
  ip("nexthop del id 2");
  catch_up();
  expect_all_same(all);
}

TEST_F(Live, FollowsEveryChange) {
  make_links();
  open_mirror();
  const auto changed = [&](const std::string& command) {
    ip(command);
    catch_up();
    for (const std::string& dst : kDestinations) {
      expect_same({.dst = dst});
      if (HasFailure()) FAIL() << "after: ip " << command;
    }
  };
  changed("route add default via 192.0.2.1");
  changed("route replace default via 10.1.0.254");
  changed("route add 10.20.0.0/16 via 10.1.0.254 metric 5");
  changed("route prepend 10.20.0.0/16 via 192.0.2.1 metric 5");
  changed("route append 10.20.0.0/16 via 10.1.9.254 metric 5");
  changed("route del 10.20.0.0/16 via 192.0.2.1");
  changed("-6 route add default via 2001:db8:2::1");
  ip("-6 route append default via 2001:db8:1::1234");  // Now it depends on the flow.
  catch_up();
  changed("-6 route del default via 2001:db8:2::1");
  changed("-6 route replace default via 2001:db8:2::9");
  changed("rule add to 10.66.0.0/16 prohibit priority 100");
  changed("rule del to 10.66.0.0/16 prohibit priority 100");
  changed("route add 10.67.0.0/16 dev wan src 198.51.100.1");
  changed("addr del 198.51.100.1 peer 198.51.100.2/32 dev wan");
  changed("addr add 203.0.113.1/24 dev lan");
  changed("addr del 10.1.0.1/24 dev lan");
  changed("link set wan down");
  changed("link set wan up");
  changed("route add default via 192.0.2.1 metric 3");
  changed("link set lan name inside");
  changed("link del wan");
  EXPECT_NE(std::find(listener_.gone.begin(), listener_.gone.end(), "10.1.0.1"),
            listener_.gone.end());
  EXPECT_NE(std::find(listener_.gone.begin(), listener_.gone.end(), "down wan"),
            listener_.gone.end());
  EXPECT_NE(std::find(listener_.gone.begin(), listener_.gone.end(), "removed wan"),
            listener_.gone.end());
}

TEST_F(Live, AsksTheKernelForNeighbours) {
  ip("netns add routing-live");
  ip("link add lan type veth peer name peer netns routing-live");
  ip("addr add 10.1.0.1/24 dev lan");
  ip("link set lan up");
  ip("-n routing-live addr add 10.1.0.2/24 dev peer");
  ip("-n routing-live link set peer address 02:00:00:00:00:02 up");
  open_mirror();
  const std::uint32_t lan = database_.view().link("lan")->ifindex;
  const NeighbourKey there{lan, Family::ip, wire::Address::ip(0x0a010002)};
  const NeighbourKey missing{lan, Family::ip, wire::Address::ip(0x0a010063)};
  EXPECT_EQ(neighbours_.resolve(there, now_).status, Neighbour::Status::unknown);
  EXPECT_EQ(neighbours_.resolve(missing, now_).status, Neighbour::Status::unknown);
  for (int i = 0; i < 50 && (listener_.resolved.empty() || listener_.failed.empty()); ++i)
    catch_up();
  const Neighbour found = neighbours_.resolve(there, now_);
  EXPECT_EQ(found.status, Neighbour::Status::resolved);
  EXPECT_EQ(found.mac, (Mac{2, 0, 0, 0, 0, 2}));
  EXPECT_EQ(neighbours_.find(missing).status, Neighbour::Status::failed);
  ip("netns del routing-live");
}

}  // namespace
}  // namespace weir::routing
