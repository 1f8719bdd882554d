#include "tests/scenarios/engine_driver.h"

#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>

#include "base/preload_library.h"
#include "tests/scenarios/engine_settings.h"
#include "tests/support/run_program.h"

namespace weir::test {

namespace {

constexpr Duration kShortestStep = std::chrono::milliseconds(1);
constexpr Duration kServe = std::chrono::milliseconds(2);
constexpr Duration kWall = std::chrono::hours(24 * 365 * 56);  // Booted in 2026.
constexpr int kMostTurns = 64;

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_UDPLITE:
      return "udplite";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "icmpv6";
    case IPPROTO_SCTP:
      return "sctp";
    case IPPROTO_DCCP:
      return "dccp";
    case IPPROTO_GRE:
      return "gre";
    default:
      return "unknown";
  }
}

std::string tuple_words(const conntrack::Tuple& tuple) {
  std::string words = fmt::format("src={} dst={} ", wire::to_string(tuple.src, tuple.family),
                                  wire::to_string(tuple.dst, tuple.family));
  if (tuple.protocol == IPPROTO_ICMP || tuple.protocol == IPPROTO_ICMPV6) {
    return words + fmt::format("type={} code={} id={} ", tuple.dst_port.host() >> 8,
                               tuple.dst_port.host() & 0xff, tuple.src_port.host());
  }
  if (protocol_name(tuple.protocol) == "unknown") return words;
  if (tuple.protocol == IPPROTO_GRE) {
    return words +
           fmt::format("srckey={:#x} dstkey={:#x} ", tuple.src_port.host(), tuple.dst_port.host());
  }
  return words + fmt::format("sport={} dport={} ", tuple.src_port.host(), tuple.dst_port.host());
}

std::string traffic_words(const conntrack::Traffic& traffic) {
  return fmt::format("packets={} bytes={} ", traffic.packets, traffic.bytes);
}

/// What a device says of a frame: whom its Ethernet address means.
packet::LinkType link_type(Bytes frame, std::size_t port) {
  const Bytes to = frame.first(6);
  if (std::ranges::equal(to, gateway_mac(port))) return packet::LinkType::host;
  if (std::ranges::all_of(to, [](std::uint8_t byte) { return byte == 0xff; })) {
    return packet::LinkType::broadcast;
  }
  return (to[0] & 1) != 0 ? packet::LinkType::multicast : packet::LinkType::other_host;
}

std::string phase_words(const conntrack::Snapshot& entry) {
  switch (entry.original.protocol) {
    case IPPROTO_TCP:
      return fmt::format("{} ", to_string(entry.tcp.phase));
    case IPPROTO_SCTP:
      return fmt::format("{} ", to_string(entry.sctp.phase));
    case IPPROTO_DCCP:
      return fmt::format("{} ", to_string(entry.dccp.phase));
    default:
      return {};
  }
}

/// As `conntrack -L -o extended` prints it.
std::string entry_line(const conntrack::Snapshot& entry, Time now) {
  const conntrack::Tuple& original = entry.original;
  std::string line = fmt::format(
      "ipv{} {} {} {} {} ", original.family == wire::Family::ip ? 4 : 6,
      static_cast<int>(original.family), protocol_name(original.protocol), original.protocol,
      std::chrono::duration_cast<std::chrono::seconds>(entry.expires_in(now)).count());
  line += phase_words(entry);
  line += tuple_words(original) + traffic_words(entry.traffic[0]);
  if ((entry.status & conntrack::status::kSeenReply) == 0) line += "[UNREPLIED] ";
  line += tuple_words(entry.reply) + traffic_words(entry.traffic[1]);
  if ((entry.status & conntrack::status::kAssured) != 0) line += "[ASSURED] ";
  return line + fmt::format("mark={}", entry.mark);
}

}  // namespace

std::string EngineDriver::why_unavailable() {
  if (geteuid() != 0) return "it needs root for a network namespace";
  if (const auto nft = run_program({"nft", "--version"}, ""); !nft) return nft.error().text;
  if (const auto library = find_preload_library(); !library) return library.error().text;
  return {};
}

EngineDriver::~EngineDriver() {
  mirror_.reset();
  control_.reset();
  engine_.reset();  // The worker gives its packets back before the queues go.
  if (!socket_path_.empty()) unlink(socket_path_.c_str());
}

Result<void> EngineDriver::set_up(const Network& network, const std::string& rules) {
  if (auto done = namespace_.set_up(network); !done) return done;
  if (auto done = make_engine(network); !done) return done;
  auto library = find_preload_library();
  if (!library) return std::unexpected(library.error());
  preload_library_ = *library;
  if (!rules.empty()) {
    if (auto loaded = run_nft({"nft", "-f", "-"}, rules); !loaded)
      return std::unexpected(loaded.error());
  }
  engine_->open();
  return {};
}

Result<void> EngineDriver::make_engine(const Network& network) {
  engine::Options options;
  options.conntrack.max = 4096;
  options.worker.small_buffers = 1024;
  options.worker.large_buffers = 64;
  if (auto done = apply_sysctls(network, options); !done) return done;
  auto engine = engine::Engine::create(options, now_);
  if (!engine) return std::unexpected(engine.error());
  engine_ = std::move(*engine);
  socket_path_ = fmt::format("/tmp/scenario-{}.sock", getpid());
  auto control = engine::ControlPlane::open(*engine_, {.socket_path = socket_path_});
  if (!control) return std::unexpected(control.error());
  control_ = std::move(*control);
  auto mirror = routing::Mirror::open(engine_->routing(), engine_->neighbours(), this);
  if (!mirror) return std::unexpected(mirror.error());
  mirror_ = std::move(*mirror);
  for (const PortSetup& port : network.ports) {
    wires_.push_back({port.name, std::make_unique<io::MemoryQueue>(io::MemoryQueue::Options{})});
    engine_->add_port({.name = port.name,
                       .ifindex = if_nametoindex(port.name.c_str()),
                       .queues = {{.wire = wires_.back().queue.get(), .host = nullptr}}});
  }
  // There is no thread that could be woken: whoever waits for the worker turns it.
  engine_->conntrack().set_waker(
      [](void* driver, std::uint32_t) { static_cast<EngineDriver*>(driver)->turn_worker(); }, this);
  engine_->start();
  return {};
}

void EngineDriver::turn_worker() {
  for (int i = 0; i < kMostTurns; ++i) {
    if (!engine_->worker(0).turn(now_, kWall + now_.time_since_epoch())) break;
  }
}

void EngineDriver::turn() {
  turn_worker();
  engine_->control_turn();
}

Result<void> EngineDriver::send(const std::string& port, Bytes frame) {
  const auto wire = std::ranges::find(wires_, port, &Wire::port);
  packet::Packet* const packet =
      engine_->worker(0).pool().take(static_cast<std::uint32_t>(frame.size()));
  if (packet == nullptr) return std::unexpected(Error{ENOBUFS, "no buffer is free"});
  std::ranges::copy(frame, packet->frame());
  packet->length = static_cast<std::uint32_t>(frame.size());
  packet->link_type = link_type(frame, static_cast<std::size_t>(wire - wires_.begin()));
  packet->arrived = now_;
  wire->queue->put(packet);
  turn();
  return {};
}

std::vector<PortFrame> EngineDriver::collect(std::size_t) {
  turn();
  std::vector<PortFrame> frames;
  for (const Wire& wire : wires_) {
    while (packet::Packet* const packet = wire.queue->take_sent()) {
      const Bytes bytes = std::as_const(*packet).bytes();
      frames.push_back({wire.port, ByteString(bytes.begin(), bytes.end())});
      engine_->worker(0).pool().release(packet);
    }
  }
  return frames;
}

Result<void> EngineDriver::wait(Duration time) {
  const Time until = now_ + time;
  while (now_ < until) {
    const Time deadline = engine_->worker(0).next_deadline();
    now_ = std::min(until, std::max(deadline, now_ + kShortestStep));
    turn();
  }
  return {};
}

Result<std::vector<std::string>> EngineDriver::table() {
  std::vector<std::string> lines;
  conntrack::Table& table = engine_->conntrack();
  const EpochGuard guard(table.epochs(), engine_->control_participant());
  for (std::uint32_t number = 1; number < table.arena().used_end(); ++number) {
    const auto entry = table.snapshot(number, now_);
    if (entry) lines.push_back(entry_line(*entry, now_));
  }
  return lines;
}

Result<std::string> EngineDriver::run_nft(const std::vector<std::string>& words,
                                          const std::string& input) {
  return run_program(
      words, input,
      {.environment = {"LD_PRELOAD=" + preload_library_, "WEIR_SOCKET=" + socket_path_},
       .meanwhile = [this] {
         control_->serve_once(kServe);
         turn();
       }});
}

Result<std::string> EngineDriver::nft(const std::string& words) {
  return run_nft({"nft", words}, "");
}

Result<void> EngineDriver::ip(const std::string& words) {
  if (auto done = namespace_.ip(words); !done) return done;
  if (auto done = mirror_->on_readable(now_); !done) return done;
  if (auto done = mirror_->resync(); !done) return done;
  turn();
  return {};
}

void EngineDriver::address_gone(const routing::InterfaceAddress& address) {
  engine_->flush_masqueraded(address.ifindex, address.family, address.local, now_);
}

void EngineDriver::link_gone(const routing::Link& link, bool) {
  engine_->flush_masqueraded(link.ifindex, now_);
}

}  // namespace weir::test
