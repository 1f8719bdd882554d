// The whole path: `weir bench path`. A worker's own turn() over two ports in memory, with a
// gateway's ruleset loaded by nft, SNAT from a pool, routes and both directions of established
// flows. The ports write each packet when the worker asks for it; what that costs is measured by
// itself and subtracted. At the end one round is checked packet by packet.
#include <fmt/core.h>

#include <fstream>
#include <memory>

#include "base/clock.h"
#include "base/temporary_folder.h"
#include "bench/bench.h"
#include "bench/flows.h"
#include "bench/lanes.h"
#include "bench/memory_ahead.h"
#include "conntrack/control.h"
#include "engine/control_plane.h"
#include "engine/engine.h"
#include "engine/rules_loader.h"
#include "packet/checksum.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::bench {
namespace {

using conntrack::Direction;
using conntrack::Tuple;

constexpr std::uint32_t kLan = 1, kWan = 2;  // Interface indices.
constexpr std::uint32_t kClientNext = 1001, kServerNext = 5001;

/// Ten rules, as a gateway has them; established packets are accepted by the third.
constexpr const char* kRules = R"(table inet bench {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    iifname "lan0" ip saddr 192.0.2.0/24 drop
    ct state established,related accept
    iifname "lan0" oifname "wan0" ct state new tcp dport { 22, 80, 443 } accept
    iifname "lan0" oifname "wan0" ct state new udp dport { 53, 123, 443 } accept
    ct status dnat accept
    meta l4proto icmp accept
    meta l4proto ipv6-icmp accept
    counter
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan0" meta nfproto ipv4 snat ip to 203.0.113.0-203.0.113.255
    oifname "wan0" meta nfproto ipv6 snat ip6 to 2001:db8:ffff::-2001:db8:ffff::ff
  }
}
)";

/// The tuple that a packet has on the wire.
Tuple tuple_of(const packet::Packet& packet) {
  Tuple tuple;
  tuple.family = packet.family;
  tuple.protocol = packet.l4_protocol;
  const std::size_t at = packet.family == wire::Family::ip ? 12 : 8;
  const std::size_t bytes = wire::address_bytes(packet.family);
  tuple.src = wire::Address::from(packet.l3().subspan(at, bytes));
  tuple.dst = wire::Address::from(packet.l3().subspan(at + bytes, bytes));
  tuple.src_port = load<Be16>(packet.l4().data());
  tuple.dst_port = load<Be16>(packet.l4().data() + 2);
  return tuple;
}

/// What all queues of one lane share: its flows, and how NAT has translated each.
struct LaneFlows {
  const Flows& flows;
  std::uint32_t first, step;        // Positions of this lane.
  std::vector<Tuple> translated{};  // By position in the lane: the original direction as it leaves.
  std::uint32_t size() const { return (flows.count - first + step - 1) / step; }
  Tuple original(std::uint32_t i) const { return flows.original(flows.at(first + i * step)); }
};

/// What a packet of either direction looks like now.
struct Phase {
  Look client, server;
};
constexpr Phase kOpening = {{wire::Tcp::kSyn, kClientNext - 1, 0},
                            {wire::Tcp::kSyn | wire::Tcp::kAck, kServerNext - 1, kClientNext}};
constexpr Phase kOpen = {{wire::Tcp::kAck, kClientNext, kServerNext},
                         {wire::Tcp::kAck, kServerNext, kClientNext}};

/// One port of a lane: makes the packets of one direction, in order, as many as it was told to, and
/// takes what leaves on the other direction's way.
class BenchQueue final : public io::Queue {
 public:
  BenchQueue(LaneFlows& flows, Direction direction) : flows_(flows), direction_(direction) {}

  /// `count` packets more, from where it stopped.
  void order(std::uint64_t count, const Phase& phase) {
    ordered_ += count;
    phase_ = phase;
  }
  /// From now on what leaves is noted as the flows' translation, or checked against it.
  enum class Watch { nothing, learn, check };
  void watch(Watch watch) { watch_ = watch; }
  bool is_idle() const { return ordered_ == 0; }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t wrong() const { return wrong_; }

  std::size_t receive(packet::Batch& batch, packet::Pool& pool) override {
    std::size_t added = 0;
    for (; ordered_ > 0 && !batch.is_full(); --ordered_, ++added) {
      packet::Packet* const packet = pool.take(packet::kSmallFrameBytes);
      const bool is_original = direction_ == Direction::original;
      Look look = is_original ? phase_.client : phase_.server;
      look.marker = next_;
      write_frame(*packet, is_original ? flows_.original(next_) : turned(flows_.translated[next_]),
                  look);
      if (++next_ == flows_.size()) next_ = 0;
      batch.add(packet);
    }
    return added;
  }

  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override {
    sent_ += packets.size();
    for (packet::Packet* packet : packets) {
      if (watch_ != Watch::nothing) look_at(*packet);
      pool.release(packet);
    }
  }

 private:
  void look_at(packet::Packet& packet) {
    const Tuple tuple = tuple_of(packet);
    const std::uint32_t i = marker_of(packet);
    if (watch_ == Watch::learn) {
      flows_.translated[i] = tuple;
      return;
    }
    // The server's port sees clients' packets translated; the clients' port sees answers to the
    // original.
    const Tuple expected =
        direction_ == Direction::reply ? flows_.translated[i] : turned(flows_.original(i));
    const std::uint8_t ttl = packet.l3()[packet.family == wire::Family::ip ? 8 : 7];
    packet.checksum = packet::Checksum::unknown;
    if (tuple != expected || ttl != 63 || !packet::verify_checksum(packet)) ++wrong_;
  }

  LaneFlows& flows_;
  const Direction direction_;
  Phase phase_ = kOpen;
  Watch watch_ = Watch::nothing;
  std::uint64_t ordered_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t wrong_ = 0;
  std::uint32_t next_ = 0;
};

struct Lane {
  Lane(const Flows& flows, std::uint32_t number, std::uint32_t lanes)
      : shares{.flows = flows, .first = number, .step = lanes},
        lan(shares, Direction::original),
        wan(shares, Direction::reply) {
    shares.translated.resize(shares.size());
  }

  LaneFlows shares;
  BenchQueue lan, wan;
  packet::Pool generator_pool{256, 0};
  pipeline::Worker* worker = nullptr;

  /// Orders the same number on both sides and takes turns until all has gone through.
  std::uint64_t run(std::uint64_t from_lan, std::uint64_t from_wan, const Phase& phase) {
    lan.order(from_lan, phase);
    wan.order(from_wan, phase);
    while (!lan.is_idle() || !wan.is_idle()) worker->turn(boot_time(), wall_time());
    return from_lan + from_wan;
  }

  std::uint64_t run_for(double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::uint64_t packets = 0;
    while (std::chrono::steady_clock::now() < end)
      packets += run(shares.size(), shares.size(), kOpen);
    return packets;
  }

  /// The same packets, made and thrown away.
  std::uint64_t generate_for(double seconds, std::uint32_t batch_size) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::uint64_t packets = 0;
    while (std::chrono::steady_clock::now() < end) {
      lan.order(shares.size(), kOpen);
      wan.order(shares.size(), kOpen);
      while (!lan.is_idle() || !wan.is_idle()) {
        for (BenchQueue* queue : {&lan, &wan}) {
          packet::Batch batch(batch_size);
          packets += queue->receive(batch, generator_pool);
          for (packet::Packet* packet : batch) generator_pool.release(packet);
        }
      }
    }
    return packets;
  }
};

Result<void> load(engine::Engine& engine) {
  const auto folder = TemporaryFolder::make("bench");
  if (!folder) return std::unexpected(folder.error());
  auto control =
      engine::ControlPlane::open(engine, {.socket_path = folder->file("weir.sock")}, boot_time);
  if (!control) return std::unexpected(control.error());
  std::ofstream(folder->file("rules.nft")) << kRules;
  return engine::load_rules(folder->file("weir.sock"), folder->file("rules.nft"),
                            [&] { (*control)->serve_once(std::chrono::milliseconds(1)); });
}

void set_up_routes(routing::Database& routing) {
  constexpr std::uint32_t kUp = 1, kRunning = 0x40, kNoArp = 0x80;  // IFF_*
  for (const auto& [ifindex, name] : {std::pair{kLan, "lan0"}, std::pair{kWan, "wan0"}}) {
    routing::Link link;
    link.ifindex = ifindex;
    link.name = name;
    link.flags = kUp | kRunning | kNoArp;
    link.mtu = 1500;
    routing.set(link);
  }
  routing.add_default_rules();
  auto add = [&routing](const char* prefix, std::uint32_t ifindex) {
    routing::RouteEntry route;
    route.destination = *wire::parse_prefix(prefix);
    route.next_hops.push_back({.ifindex = ifindex});
    routing.add(route);
  };
  add("10.0.0.0/8", kLan);
  add("2001:db8:a00::/48", kLan);
  add("0.0.0.0/0", kWan);
  add("::/0", kWan);
  routing.publish();
}

struct Bench {
  Flows flows;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::unique_ptr<engine::Engine> engine;  // Goes first: its workers use the lanes' queues.

  template <typename Body>
  LaneResult run(Body&& body) {
    return run_lanes(static_cast<std::uint32_t>(lanes.size()),
                     [&](std::uint32_t i) { return body(*lanes[i]); });
  }
};

Result<std::unique_ptr<Bench>> prepare(const Task& task) {
  auto bench = std::make_unique<Bench>();
  bench->flows = {.family = task.family, .protocol = task.protocol, .count = task.flows};
  engine::Options options;
  options.workers = static_cast<std::uint16_t>(task.threads);
  options.worker.batch = task.batch;
  options.worker.small_buffers = 1024;
  options.worker.large_buffers = 0;
  options.conntrack.max = task.flows + task.flows / 8 + 4096;
  auto engine = engine::Engine::create(options, boot_time());
  if (!engine) return std::unexpected(engine.error());
  bench->engine = std::move(*engine);

  engine::PortSpec lan{.name = "lan", .ifindex = kLan, .queues = {}},
      wan{.name = "wan", .ifindex = kWan, .queues = {}};
  for (std::uint32_t i = 0; i < task.threads; ++i) {
    bench->lanes.push_back(std::make_unique<Lane>(bench->flows, i, task.threads));
    lan.queues.push_back({.wire = &bench->lanes[i]->lan});
    wan.queues.push_back({.wire = &bench->lanes[i]->wan});
  }
  bench->engine->add_port(std::move(lan));
  bench->engine->add_port(std::move(wan));
  set_up_routes(bench->engine->routing());
  bench->engine->start();
  for (std::uint32_t i = 0; i < task.threads; ++i)
    bench->lanes[i]->worker = &bench->engine->worker(static_cast<std::uint16_t>(i));
  if (auto loaded = load(*bench->engine); !loaded) return std::unexpected(loaded.error());
  bench->engine->open();
  return bench;
}

/// Every flow once in each direction (TCP: its handshake), learning how NAT translates it.
void establish(Bench& bench) {
  bench.run([&](Lane& lane) {
    const std::uint64_t all = lane.shares.size();
    lane.wan.watch(BenchQueue::Watch::learn);
    lane.run(all, 0, kOpening);
    lane.wan.watch(BenchQueue::Watch::nothing);
    lane.run(0, all, kOpening);
    return lane.run(all, 0, kOpen);
  });
}

/// One round with every packet that leaves checked, then the table's counters against what was
/// sent.
void verify(Bench& bench, const Task& task, std::uint64_t packets, Report& report) {
  bench.run([](Lane& lane) {
    lane.lan.watch(BenchQueue::Watch::check);
    lane.wan.watch(BenchQueue::Watch::check);
    return lane.run(lane.shares.size(), lane.shares.size(), kOpen);
  });
  packets += std::uint64_t{task.flows} * 2;

  std::uint64_t wrong = 0, sent = 0, counted = 0, unready = 0;
  for (const auto& lane : bench.lanes) {
    wrong += lane->lan.wrong() + lane->wan.wrong();
    sent += lane->lan.sent() + lane->wan.sent();
  }
  const conntrack::Table& table = bench.engine->conntrack();
  report.connection_bytes = static_cast<double>(table.memory_bytes()) / table.count();
  conntrack::Control control(bench.engine->conntrack(), bench.engine->control_participant());
  conntrack::Control::Cursor cursor;
  const std::uint32_t needed =
      conntrack::status::kSeenReply | conntrack::status::kSrcNat |
      (task.protocol == wire::protocol::kTcp ? conntrack::status::kAssured : 0);
  while (control.dump(cursor, task.flows, boot_time(), [&](const conntrack::Snapshot& entry) {
    counted += entry.traffic[0].packets + entry.traffic[1].packets;
    if ((entry.status & needed) != needed) ++unready;
    return true;
  })) {
  }
  report.is_verified = wrong == 0 && sent == packets && counted == packets && unready == 0;
  if (!report.is_verified) {
    report.problem = fmt::format(
        "{} packets in, {} out ({} wrong), {} counted in the table, {} entries not in the state "
        "that they should be in",
        packets, sent, wrong, counted, unready);
    for (const control::Stat& stat : bench.engine->stats()) {
      const bool is_loss =
          stat.name.starts_with("drop.") || stat.name == "conntrack.chain_too_long";
      if (is_loss && stat.value != 0)
        report.problem += fmt::format(", {} {}", stat.name, stat.value);
    }
  }
}

}  // namespace

Result<Report> bench_path(const Task& task) {
  auto bench = prepare(task);
  if (!bench) return std::unexpected(bench.error());
  establish(**bench);

  Report report;
  (*bench)->run([&](Lane& lane) { return lane.generate_for(task.seconds / 4, task.batch); });
  for (std::uint32_t run = 0; run < task.runs; ++run) {
    const LaneResult generated =
        (*bench)->run([&](Lane& lane) { return lane.generate_for(task.seconds / 4, task.batch); });
    const LaneResult passed = (*bench)->run([&](Lane& lane) { return lane.run_for(task.seconds); });
    report.generator_ns = generated.ns_per_packet(task.threads);
    report.runs_ns.push_back(passed.ns_per_packet(task.threads) - report.generator_ns);
    report.packets += passed.packets;
  }
  verify(**bench, task, std::uint64_t{task.flows} * 3 + report.packets, report);
  return report;
}

Result<Report> bench_snat(const Task& task) {
  Report report;
  for (std::uint32_t run = 0; run < task.runs; ++run) {
    auto bench = prepare(task);  // Each run fills a new table.
    if (!bench) return std::unexpected(bench.error());
    const MemoryAhead ahead((*bench)->engine->conntrack());
    const LaneResult generated =
        (*bench)->run([&](Lane& lane) { return lane.generate_for(task.seconds / 4, task.batch); });
    for (const auto& lane : (*bench)->lanes) lane->wan.watch(BenchQueue::Watch::learn);
    const LaneResult passed =
        (*bench)->run([&](Lane& lane) { return lane.run(lane.shares.size(), 0, kOpening); });
    report.generator_ns = generated.ns_per_packet(task.threads);
    report.runs_ns.push_back(passed.ns_per_packet(task.threads) - report.generator_ns);
    report.packets += passed.packets;
    (*bench)->run([&](Lane& lane) { return lane.run(0, lane.shares.size(), kOpening); });
    verify(**bench, task, std::uint64_t{task.flows} * 2, report);
    if (!report.is_verified) return report;
  }
  return report;
}

}  // namespace weir::bench
