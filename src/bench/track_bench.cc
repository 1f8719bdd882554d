// Connection tracking alone: `weir bench conntrack` and `weir bench create`. Each lane is a worker
// with flows of its own; packets are written anew for every visit, as a port would deliver them,
// and that cost is measured by itself and subtracted.
#include <fmt/core.h>

#include <functional>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/flows.h"
#include "bench/lanes.h"
#include "bench/memory_ahead.h"
#include "conntrack/control.h"
#include "engine/engine.h"
#include "packet/batch.h"
#include "packet/pool.h"
#include "pipeline/header_check.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::bench {
namespace {

using conntrack::Direction;

constexpr std::size_t kPoolPackets = 256;
/// Sequence numbers of the established connections: the next byte of client and server.
constexpr std::uint32_t kClientNext = 1001;
constexpr std::uint32_t kServerNext = 5001;

struct Step {
  Direction direction;
  Look look;
};

/// What makes a TCP connection established, and the two segments that keep it so.
constexpr Step kHandshake[] = {
    {Direction::original, {wire::Tcp::kSyn, kClientNext - 1, 0}},
    {Direction::reply, {wire::Tcp::kSyn | wire::Tcp::kAck, kServerNext - 1, kClientNext}},
    {Direction::original, {wire::Tcp::kAck, kClientNext, kServerNext}},
};
constexpr Look kFromClient = {wire::Tcp::kAck, kClientNext, kServerNext};
constexpr Look kFromServer = {wire::Tcp::kAck, kServerNext, kClientNext};

/// Whether batches are only written, which is what the generator costs, or tracked as well.
enum class Mode { generate, track };

/// One worker's share of the flows.
class Lane {
 public:
  Lane(engine::Engine& engine, const Flows& flows, const Task& task, std::uint32_t number)
      : tracker_(engine.conntrack().tracker(number)),
        flows_(flows),
        task_(task),
        number_(number),
        pool_(kPoolPackets, 0) {}

  /// Sends one packet of every flow of this lane.
  std::uint64_t visit_all(Mode mode, const Step& step) {
    std::uint64_t packets = 0;
    for (std::uint32_t position = number_; position < flows_.count;) {
      packet::Batch batch(task_.batch);
      for (; !batch.is_full() && position < flows_.count; position += task_.threads) {
        add(batch, position, step.direction, step.look);
      }
      packets += batch.size();
      handle(mode, batch);
    }
    return packets;
  }

  /// Both directions of established flows, a round over all of them after the other, until the time
  /// is over.
  std::uint64_t visit_for(Mode mode, double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::uint64_t packets = 0;
    for (; std::chrono::steady_clock::now() < end; ++round_) {
      for (std::uint32_t position = number_; position < flows_.count;) {
        packet::Batch batch(task_.batch);
        for (; !batch.is_full() && position < flows_.count; position += task_.threads) {
          const bool is_reply = ((position / task_.threads + round_) & 1) != 0;
          add(batch, position, is_reply ? Direction::reply : Direction::original,
              is_reply ? kFromServer : kFromClient);
        }
        packets += batch.size();
        handle(mode, batch);
      }
    }
    return packets;
  }

 private:
  void add(packet::Batch& batch, std::uint32_t position, Direction direction, const Look& look) {
    packet::Packet* const packet = pool_.take(packet::kSmallFrameBytes);
    const conntrack::Tuple original = flows_.original(flows_.at(position));
    write_frame(*packet, direction == Direction::original ? original : turned(original), look);
    batch.add(packet);
  }

  void handle(Mode mode, packet::Batch& batch) {
    if (mode == Mode::track) {
      batch.now = boot_time();
      tracker_.online();
      for (packet::Packet* packet : batch) pipeline::check_headers(*packet);
      track(batch);
      tracker_.expire(batch.now);
      tracker_.quiet();
    }
    for (packet::Packet* packet : batch) pool_.release(packet);
  }

  /// As the path does it: what has to wait for another packet of the batch takes a second pass.
  void track(packet::Batch& batch) {
    packet::Batch all(batch), later;
    do {
      tracker_.track(batch, later);
      for (packet::Packet* packet : batch) tracker_.confirm(*packet, batch.now);
      std::swap(batch, later);
      batch.now = all.now;
      later.clear();
    } while (!batch.is_empty());
    batch = all;
  }

  conntrack::Tracker& tracker_;
  const Flows& flows_;
  const Task& task_;
  const std::uint32_t number_;
  std::uint32_t round_ = 0;
  packet::Pool pool_;
};

/// An engine with memory ready for the flows, and a lane for each thread.
struct Bench {
  Flows flows;
  std::unique_ptr<engine::Engine> engine;
  std::vector<std::unique_ptr<Lane>> lanes;

  LaneResult run(const Task& task, const std::function<std::uint64_t(Lane&)>& body) {
    return run_lanes(task.threads, [&](std::uint32_t lane) { return body(*lanes[lane]); });
  }
};

Result<std::unique_ptr<Bench>> prepare(const Task& task) {
  auto bench = std::make_unique<Bench>();
  bench->flows = {.family = task.family, .protocol = task.protocol, .count = task.flows};
  engine::Options options;
  options.workers = static_cast<std::uint16_t>(task.threads);
  options.conntrack.max = task.flows + task.flows / 8 + 4096;
  auto engine = engine::Engine::create(options, boot_time());
  if (!engine) return std::unexpected(engine.error());
  bench->engine = std::move(*engine);
  for (std::uint32_t i = 0; i < task.threads; ++i) {
    bench->lanes.push_back(std::make_unique<Lane>(*bench->engine, bench->flows, task, i));
  }
  return bench;
}

void establish(Bench& bench, const Task& task) {
  const MemoryAhead ahead(bench.engine->conntrack());
  const bool is_tcp = task.protocol == wire::protocol::kTcp;
  for (const Step& step : kHandshake) {
    if (!is_tcp && &step == &kHandshake[2]) break;
    bench.run(task, [&](Lane& lane) { return lane.visit_all(Mode::track, step); });
  }
}

/// Counts what the table says against what was sent: entries, packets of both directions, states.
void verify(Bench& bench, const Task& task, std::uint64_t packets, Report& report) {
  conntrack::Control control(bench.engine->conntrack(), bench.engine->control_participant());
  std::uint64_t entries = 0, counted = 0, unready = 0;
  conntrack::Control::Cursor cursor;
  const bool is_tcp = task.protocol == wire::protocol::kTcp;
  const std::uint32_t needed = packets == task.flows ? conntrack::status::kConfirmed
                               : is_tcp              ? conntrack::status::kAssured
                                                     : conntrack::status::kSeenReply;
  while (control.dump(cursor, task.flows, boot_time(), [&](const conntrack::Snapshot& entry) {
    ++entries;
    counted += entry.traffic[0].packets + entry.traffic[1].packets;
    if ((entry.status & needed) == 0) ++unready;
    return true;
  })) {
  }
  const conntrack::Table& table = bench.engine->conntrack();
  report.connection_bytes = static_cast<double>(table.memory_bytes()) / table.count();
  report.is_verified = entries == task.flows && counted == packets && unready == 0;
  if (!report.is_verified) {
    report.problem = fmt::format(
        "{} entries of {}, {} packets counted of {}, {} entries not in the state that they should "
        "be in",
        entries, task.flows, counted, packets, unready);
  }
}

}  // namespace

Result<Report> bench_conntrack(const Task& task) {
  auto bench = prepare(task);
  if (!bench) return std::unexpected(bench.error());
  establish(**bench, task);

  Report report;
  const std::uint64_t before =
      std::uint64_t{task.flows} * (task.protocol == wire::protocol::kTcp ? 3 : 2);
  (*bench)->run(task, [&](Lane& lane) { return lane.visit_for(Mode::generate, task.seconds / 4); });
  for (std::uint32_t run = 0; run < task.runs; ++run) {
    const LaneResult generated = (*bench)->run(
        task, [&](Lane& lane) { return lane.visit_for(Mode::generate, task.seconds / 4); });
    const LaneResult tracked =
        (*bench)->run(task, [&](Lane& lane) { return lane.visit_for(Mode::track, task.seconds); });
    report.generator_ns = generated.ns_per_packet(task.threads);
    report.runs_ns.push_back(tracked.ns_per_packet(task.threads) - report.generator_ns);
    report.packets += tracked.packets;
  }
  verify(**bench, task, before + report.packets, report);
  return report;
}

Result<Report> bench_create(const Task& task) {
  Report report;
  const Step first = {Direction::original, {wire::Tcp::kSyn, kClientNext - 1, 0}};
  for (std::uint32_t run = 0; run < task.runs; ++run) {
    auto bench = prepare(task);  // Each run fills a new table.
    if (!bench) return std::unexpected(bench.error());
    const MemoryAhead ahead((*bench)->engine->conntrack());
    const LaneResult generated =
        (*bench)->run(task, [&](Lane& lane) { return lane.visit_all(Mode::generate, first); });
    const LaneResult created =
        (*bench)->run(task, [&](Lane& lane) { return lane.visit_all(Mode::track, first); });
    report.generator_ns = generated.ns_per_packet(task.threads);
    report.runs_ns.push_back(created.ns_per_packet(task.threads) - report.generator_ns);
    report.packets += created.packets;
    verify(**bench, task, created.packets, report);
    if (!report.is_verified) return report;
  }
  return report;
}

}  // namespace weir::bench
