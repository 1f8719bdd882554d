#include "tests/memory/gateway.h"

#include <net/if.h>

#include <fstream>

#include "base/temporary_folder.h"
#include "conntrack/control.h"
#include "engine/run_tool.h"

namespace weir::test {
namespace {

constexpr Duration kLongerThanFragments = std::chrono::seconds(61);
constexpr int kMostTurns = 4096;
constexpr Duration kWall = std::chrono::hours(24 * 365 * 56);
constexpr HashKey kKey = {.low = 0x0706050403020100, .high = 0x0f0e0d0c0b0a0908};
constexpr std::array<const char*, 2> kDevices = {"lan0", "wan0"};

std::uint32_t ifindex_of(Side side) { return static_cast<std::uint32_t>(side) + 1; }

}  // namespace

Result<std::unique_ptr<MemoryGateway>> MemoryGateway::create(const Options& options) {
  std::unique_ptr<MemoryGateway> gateway(new MemoryGateway(options));
  engine::Options wanted;
  wanted.workers = options.workers;
  wanted.worker.batch = options.batch;
  wanted.worker.small_buffers = options.small_buffers;
  wanted.worker.large_buffers = options.large_buffers;
  wanted.conntrack.max = options.conntrack_max;
  wanted.fragments.memory_bytes = std::size_t{1} << 20;
  // Errors must not depend on which of several packets came first.
  wanted.icmp.burst = 1u << 30;
  wanted.icmp.ip_mask = 0;
  wanted.icmp.ip6_interval = {};
  wanted.key = kKey;
  auto engine = engine::Engine::create(wanted, gateway->now_);
  if (!engine) return std::unexpected(engine.error());
  gateway->engine_ = std::move(*engine);
  gateway->set_up_routes();
  gateway->add_ports();
  return gateway;
}

void MemoryGateway::add_ports() {
  for (const Side side : {Side::lan, Side::wan}) {
    engine::PortSpec port{
        .name = side == Side::lan ? "lan" : "wan", .ifindex = ifindex_of(side), .queues = {}};
    auto& queues = queues_[static_cast<std::size_t>(side)];
    for (std::uint16_t worker = 0; worker < options_.workers; ++worker) {
      queues.push_back(std::make_unique<io::MemoryQueue>(
          io::MemoryQueue::Options{.room = options_.small_buffers + options_.large_buffers}));
      port.queues.push_back({.wire = queues.back().get(), .host = nullptr});
    }
    engine_->add_port(std::move(port));
  }
  // Whoever waits for a worker turns it: there may be no thread that could be woken.
  engine_->conntrack().set_waker(
      [](void* self, std::uint32_t worker) {
        auto* const gateway = static_cast<MemoryGateway*>(self);
        if (gateway->options_.workers == 1) gateway->turn(static_cast<std::uint16_t>(worker));
      },
      this);
  engine_->start();
}

void MemoryGateway::set_up_routes() {
  routing::Database& routing = engine_->routing();
  for (const Side side : {Side::lan, Side::wan}) {
    routing::Link link;
    link.ifindex = ifindex_of(side);
    link.name = kDevices[static_cast<std::size_t>(side)];
    link.flags = IFF_UP | IFF_RUNNING | IFF_NOARP;
    link.mtu = side == Side::wan ? options_.wan_mtu : 1500;
    routing.set(link);
  }
  routing.add_default_rules();
  auto address = [&](const char* text, std::uint8_t length, Side side) {
    const wire::FamilyAddress parsed = *wire::parse_address(text);
    routing.set(routing::InterfaceAddress{.ifindex = ifindex_of(side),
                                          .family = parsed.family,
                                          .local = parsed.address,
                                          .peer = parsed.address,
                                          .prefix_length = length});
    routing::RouteEntry local;
    local.table = routing::kTableLocal;
    local.type = routing::RouteType::local;
    local.scope = routing::kScopeHost;
    local.destination = {
        .family = parsed.family,
        .address = parsed.address,
        .length = static_cast<std::uint8_t>(8 * wire::address_bytes(parsed.family))};
    local.next_hops.push_back({.ifindex = ifindex_of(side)});
    routing.add(local);
  };
  address("192.168.77.1", 24, Side::lan);
  address("2001:db8:77::1", 64, Side::lan);
  address("203.0.113.1", 24, Side::wan);
  address("2001:db8:113::1", 64, Side::wan);
  auto route = [&](const char* prefix, Side side) {
    routing::RouteEntry entry;
    entry.destination = *wire::parse_prefix(prefix);
    entry.next_hops.push_back({.ifindex = ifindex_of(side)});
    routing.add(entry);
  };
  route("192.168.77.0/24", Side::lan);
  route("10.0.0.0/8", Side::lan);
  route("2001:db8:77::/64", Side::lan);
  route("2001:db8:a::/48", Side::lan);
  route("0.0.0.0/0", Side::wan);
  route("::/0", Side::wan);
  routing.publish();
}

Result<std::string> MemoryGateway::run_nft(const std::vector<std::string>& words,
                                           const std::string& rules) {
  const auto folder = TemporaryFolder::make("memory");
  if (!folder) return std::unexpected(folder.error());
  auto control = engine::ControlPlane::open(*engine_, {.socket_path = folder->file("weir.sock")},
                                            [this] { return now_; });
  if (!control) return std::unexpected(control.error());
  std::vector<std::string> command = {"nft"};
  command.insert(command.end(), words.begin(), words.end());
  if (!rules.empty()) {
    std::ofstream(folder->file("rules.nft")) << rules;
    command.insert(command.end(), {"-f", folder->file("rules.nft")});
  }
  const auto run = engine::run_tool(command, folder->file("weir.sock"),
                                    [&] { (*control)->serve_once(std::chrono::milliseconds(1)); });
  if (!run) return std::unexpected(run.error());
  if (run->exit_code != 0) return std::unexpected(Error{EINVAL, run->output + run->messages});
  return run->output;
}

Result<void> MemoryGateway::load_rules(const std::string& text) {
  if (const auto done = run_nft({}, text); !done) return std::unexpected(done.error());
  return {};
}

Result<std::string> MemoryGateway::nft(const std::vector<std::string>& words) {
  return run_nft(words, "");
}

bool MemoryGateway::put(Side side, Bytes frame, std::uint16_t worker) {
  return queue(side, worker).put_frame(frame, engine_->worker(worker).pool(), now_);
}

void MemoryGateway::turn(std::uint16_t worker) {
  for (int i = 0; i < kMostTurns; ++i) {
    if (!engine_->worker(worker).turn(now_, kWall + now_.time_since_epoch())) break;
  }
}

std::vector<std::uint8_t> MemoryGateway::take(Side side, std::uint16_t worker) {
  packet::Packet* const packet = queue(side, worker).take_sent();
  if (packet == nullptr) return {};
  const Bytes bytes = std::as_const(*packet).bytes();
  std::vector<std::uint8_t> frame(bytes.begin(), bytes.end());
  engine_->worker(worker).pool().release(packet);
  return frame;
}

std::vector<conntrack::Snapshot> MemoryGateway::connections() {
  std::vector<conntrack::Snapshot> all;
  conntrack::Control control(engine_->conntrack(), engine_->control_participant());
  conntrack::Control::Cursor cursor;
  while (control.dump(cursor, 4096, now_, [&](const conntrack::Snapshot& connection) {
    all.push_back(connection);
    return true;
  })) {
  }
  return all;
}

void MemoryGateway::forget() {
  conntrack::Control control(engine_->conntrack(), engine_->control_participant());
  control.flush(now_, 0, [](const conntrack::Snapshot&) { return true; });
  for (int i = 0; i < 3; ++i) {
    advance(kLongerThanFragments);
    turn();
    for (const Side side : {Side::lan, Side::wan}) {
      while (!take(side).empty()) {
      }
    }
    engine_->control_turn();
  }
}

}  // namespace weir::test
