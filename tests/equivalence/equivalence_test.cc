// Batches and workers change nothing but speed. A sequence of packets is made up once, against a
// gateway that takes them one by one (Traffic answers what it sees there), and then played to
// others:
//
// - at batch 2 and 64: packets that come in by one port follow each other into one batch;
// - with two workers: each packet goes to the worker that a NIC's hash of its addresses gives it,
// so that the two
//   directions of a translated connection meet two workers. They take turns, so that the order of
//   packets is the sequence's.
//
// What leaves, by conversation and byte for byte, the table, the rules' counters and the reasons
// for drops must be the reference's. Two workers that really run at once have no such order; there,
// nothing may be lost or INVALID.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <thread>

#include "tests/equivalence/frames.h"
#include "tests/equivalence/traffic.h"
#include "tests/memory/gateway.h"

namespace weir::test {
namespace {

constexpr const char* kRules = R"(
table inet filter {
  counter from_lan { }
  chain untracked {
    type filter hook prerouting priority raw;
    ip saddr 10.3.0.0/24 udp dport 81 counter notrack
  }
  chain clamp {
    type filter hook forward priority mangle;
    tcp flags syn tcp option maxseg size set 1200
    ct state new counter ct mark set meta length
    meta mark set ct mark
  }
  chain services {
    tcp dport { 80, 81, 82, 8080 } counter accept
    udp dport vmap { 80 : accept, 81 : accept, 8080 : accept }
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state vmap { established : jump counted, related : jump counted, invalid : drop }
    ct state untracked counter accept
    tcp dport 7 counter reject with tcp reset
    iifname "lan0" udp dport 82 counter reject
    iifname "lan0" counter name "from_lan" jump services
    meta l4proto { icmp, ipv6-icmp } counter accept
    ct status dnat counter accept
    counter
  }
  chain counted {
    counter accept
  }
}
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 203.0.113.1 meta l4proto { tcp, udp } th dport 8080 counter dnat to 192.168.77.10-192.168.77.12
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan0" ip saddr 10.1.0.0/16 counter snat to 203.0.113.8-203.0.113.9
    oifname "wan0" counter masquerade
    iifname "lan0" oifname "lan0" ct status dnat counter masquerade
  }
}
table ip6 nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip6 daddr 2001:db8:113::1 meta l4proto { tcp, udp } th dport 8080 counter dnat to 2001:db8:77::10
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan0" ip6 saddr 2001:db8:a:1::/64 counter snat to 2001:db8:113::8
    iifname "lan0" oifname "lan0" ct status dnat counter masquerade
  }
}
)";

constexpr std::size_t kMostPut = 512;

/// One thing that happens at the gateway.
struct Event {
  Side side = Side::lan;
  Frame frame;  // Empty: time passes.
  Duration passes{};
};

struct Left {
  Side side = Side::lan;
  Frame frame;
};

/// Everything that must not depend on batches and workers.
struct Outcome {
  std::map<std::string, std::vector<std::string>> frames;  // By port and conversation.
  std::vector<std::string> table;
  std::string rules;
  std::vector<std::string> drops;
};

std::string hex(Bytes bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::string describe(const conntrack::Snapshot& c, Time now) {
  auto tuple = [](const conntrack::Tuple& t) {
    return fmt::format("{}:{}>{}:{}", wire::to_string(t.src, t.family), t.src_port.host(),
                       wire::to_string(t.dst, t.family), t.dst_port.host());
  };
  return fmt::format(
      "{} {} | {} status={:x} mark={} packets={}/{} bytes={}/{} left={}ms{}", c.original.protocol,
      tuple(c.original), tuple(c.reply), c.status, c.mark, c.traffic[0].packets,
      c.traffic[1].packets, c.traffic[0].bytes, c.traffic[1].bytes,
      std::chrono::duration_cast<std::chrono::milliseconds>(c.expires_in(now)).count(),
      c.original.protocol == 6 ? fmt::format(" {}", to_string(c.tcp.phase)) : "");
}

std::unique_ptr<MemoryGateway> make_gateway(const MemoryGateway::Options& options) {
  auto gateway = MemoryGateway::create(options);
  EXPECT_TRUE(gateway) << gateway.error().text;
  if (!gateway) return nullptr;
  const auto loaded = (*gateway)->load_rules(kRules);
  EXPECT_TRUE(loaded) << loaded.error().text;
  (*gateway)->open();
  return std::move(*gateway);
}

Outcome outcome_of(MemoryGateway& gateway, const std::vector<Left>& left) {
  Outcome outcome;
  for (const Left& each : left) {
    const std::string key = (each.side == Side::lan ? "lan " : "wan ") + conversation(each.frame);
    outcome.frames[key].push_back(hex(comparable(each.frame)));
  }
  for (auto& [key, frames] : outcome.frames) {
    if (key.ends_with("in pieces")) std::ranges::sort(frames);
  }
  for (const auto& connection : gateway.connections())
    outcome.table.push_back(describe(connection, gateway.now()));
  std::ranges::sort(outcome.table);
  const auto rules = gateway.nft({"list", "ruleset"});
  EXPECT_TRUE(rules) << rules.error().text;
  if (rules) outcome.rules = *rules;
  for (const control::Stat& stat : gateway.engine().stats()) {
    if (stat.name.starts_with("drop.") || stat.name.ends_with(".invalid")) {
      outcome.drops.push_back(fmt::format("{}={}", stat.name, stat.value));
    }
  }
  return outcome;
}

/// What a NIC does: the worker by the addresses and ports of the packet, the same for both
/// directions of a connection that isn't translated.
std::uint16_t worker_of(Bytes frame, std::uint16_t workers) {
  const auto seen = read(frame);
  if (!seen) return 0;
  std::size_t sum = 0;
  for (const std::string* address : {&seen->view.src, &seen->view.dst}) {
    for (const char letter : *address) sum += static_cast<unsigned char>(letter) * 7u;
  }
  if (!seen->is_fragment) sum += seen->view.src_port + seen->view.dst_port;
  return static_cast<std::uint16_t>((sum ^ sum >> 5) % workers);
}

void collect(MemoryGateway& gateway, std::uint16_t workers, std::vector<Left>& left) {
  for (std::uint16_t worker = 0; worker < workers; ++worker) {
    for (const Side side : {Side::lan, Side::wan}) {
      for (Frame frame = gateway.take(side, worker); !frame.empty();
           frame = gateway.take(side, worker)) {
        left.push_back({side, std::move(frame)});
      }
    }
  }
}

/// Makes up a sequence against `gateway`, which takes each packet by itself.
std::vector<Event> make_up(MemoryGateway& gateway, const Traffic::Options& options, int volleys,
                           std::vector<Left>& left) {
  std::vector<Event> events;
  Traffic* watcher = nullptr;
  Traffic traffic(options, [&](Side side, const Frame& frame) {
    events.push_back({.side = side, .frame = frame});
    EXPECT_TRUE(gateway.put(side, frame));
    gateway.turn();
    const std::size_t before = left.size();
    collect(gateway, 1, left);
    for (std::size_t i = before; i < left.size(); ++i) watcher->seen(left[i].side, left[i].frame);
  });
  watcher = &traffic;
  std::mt19937_64 random(options.seed);
  for (int i = 0; i < volleys; ++i) {
    traffic.volley(i % 2 == 0 ? Side::lan : Side::wan, 1 + random() % 100);
    const Duration passes =
        std::chrono::milliseconds(random() % 8 == 0 ? random() % 3000 : random() % 20);
    events.push_back({.frame = {}, .passes = passes});
    gateway.advance(passes);
    gateway.turn();
  }
  EXPECT_GT(traffic.seen_count(), events.size() / 3) << "the sequence is no conversation";
  return events;
}

/// Plays the sequence: packets that follow each other by one port, to one worker, come at once.
std::vector<Left> play(MemoryGateway& gateway, const std::vector<Event>& events,
                       std::uint16_t workers) {
  std::vector<Left> left;
  std::size_t waiting = 0;
  Side side = Side::lan;
  std::uint16_t worker = 0;
  auto flush = [&] {
    gateway.turn(worker);
    collect(gateway, workers, left);
    waiting = 0;
  };
  for (const Event& event : events) {
    if (event.frame.empty()) {
      flush();
      gateway.advance(event.passes);
      for (std::uint16_t each = 0; each < workers; ++each) gateway.turn(each);
      continue;
    }
    const std::uint16_t to = worker_of(event.frame, workers);
    if (event.side != side || to != worker || waiting == kMostPut) flush();
    side = event.side;
    worker = to;
    EXPECT_TRUE(gateway.put(side, event.frame, worker));
    ++waiting;
  }
  flush();
  return left;
}

void expect_equal(const Outcome& reference, const Outcome& outcome) {
  int shown = 0;
  for (const auto& [key, frames] : reference.frames) {
    const auto other = outcome.frames.find(key);
    const bool is_equal = other != outcome.frames.end() && other->second == frames;
    if (!is_equal && ++shown <= 5) {
      ADD_FAILURE() << key << ": " << frames.size() << " frames became "
                    << (other == outcome.frames.end() ? 0 : other->second.size());
    }
  }
  EXPECT_EQ(shown, 0) << "conversations that differ";
  EXPECT_EQ(outcome.frames.size(), reference.frames.size());
  std::vector<std::string> missing, added;
  std::ranges::set_difference(reference.table, outcome.table, std::back_inserter(missing));
  std::ranges::set_difference(outcome.table, reference.table, std::back_inserter(added));
  EXPECT_TRUE(missing.empty() && added.empty()) << missing.size() << " connections differ, e.g.\n  "
                                                << (missing.empty() ? "-" : missing.front())
                                                << "\n  " << (added.empty() ? "-" : added.front());
  EXPECT_EQ(outcome.rules, reference.rules);
  EXPECT_EQ(outcome.drops, reference.drops);
}

class Sequences : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(Sequences, DoNotDependOnBatchesOrWorkers) {
  const auto first = make_gateway({.batch = 1});
  ASSERT_NE(first, nullptr);
  std::vector<Left> left;
  const std::vector<Event> events = make_up(*first, {.seed = GetParam(), .flows = 300}, 120, left);
  const Outcome reference = outcome_of(*first, left);
  EXPECT_GT(reference.table.size(), 100u);

  struct Setup {
    std::uint16_t workers;
    std::size_t batch;
  };
  for (const auto& [workers, batch] :
       {Setup{1, 2}, Setup{1, 64}, Setup{2, 1}, Setup{2, 2}, Setup{2, 64}}) {
    SCOPED_TRACE(fmt::format("{} worker(s), batch {}", workers, batch));
    const auto other = make_gateway({.workers = workers, .batch = batch});
    ASSERT_NE(other, nullptr);
    const std::vector<Left> theirs = play(*other, events, workers);
    expect_equal(reference, outcome_of(*other, theirs));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Sequences, ::testing::Values(1, 2, 3, 4));

/// With a table that is too small, batches may evict other connections: a batch's own ones aren't
/// there yet. But the bound holds, and connections that are ASSURED stay.
TEST(Pressure, KeepsBoundAndAssuredConnections) {
  constexpr std::uint32_t kMax = 160;
  const auto first = make_gateway({.batch = 1, .conntrack_max = 4096});
  ASSERT_NE(first, nullptr);
  std::vector<Left> left;
  const std::vector<Event> events = make_up(*first, {.seed = 9, .flows = 400}, 60, left);
  for (const std::size_t batch : {1, 2, 64}) {
    const auto gateway = make_gateway({.batch = batch, .conntrack_max = kMax});
    ASSERT_NE(gateway, nullptr);
    play(*gateway, events, 1);
    const auto table = gateway->connections();
    EXPECT_LE(gateway->engine().conntrack().count(), kMax);
    EXPECT_GT(table.size(), kMax / 2);
    std::uint64_t made_room = 0;
    for (const control::Stat& stat : gateway->engine().stats()) {
      if (stat.name.ends_with("early_drop")) made_room += stat.value;
    }
    EXPECT_GT(made_room, 0u);
  }
}

/// Two workers at once, each in a thread; the directions of translated connections meet both.
TEST(TwoWorkersAtOnce, LoseNothingAndFindNothingInvalid) {
  const auto gateway = make_gateway({.workers = 2});
  ASSERT_NE(gateway, nullptr);
  Traffic traffic({.seed = 5, .flows = 400, .is_wild = false}, [&](Side side, const Frame& frame) {
    EXPECT_TRUE(gateway->put(side, frame, worker_of(frame, 2)));
  });
  for (int i = 0; i < 200; ++i) {
    traffic.volley(i % 2 == 0 ? Side::lan : Side::wan, 200);
    {
      std::jthread other([&] { gateway->turn(1); });
      gateway->turn(0);
    }
    std::vector<Left> left;
    collect(*gateway, 2, left);
    for (const Left& each : left) traffic.seen(each.side, each.frame);
    gateway->advance(std::chrono::milliseconds(1));
  }
  EXPECT_GT(traffic.seen_count(), 4000u);
  EXPECT_EQ(traffic.unseen(), 0u);
  std::uint64_t invalid = 0;
  for (const control::Stat& stat : gateway->engine().stats()) {
    if (stat.name.ends_with(".invalid")) invalid += stat.value;
  }
  EXPECT_EQ(invalid, 0u);
}

}  // namespace
}  // namespace weir::test
