#include "replay/player.h"

#include <algorithm>

#include "base/temporary_folder.h"
#include "conntrack/control.h"
#include "engine/control_plane.h"
#include "engine/rules_loader.h"
#include "engine/run_tool.h"
#include "replay/packet_ends.h"
#include "replay/packet_text.h"

namespace weir::replay {
namespace {

/// Where the engine's clock stands at the first packet. Not zero, which means "never" in places.
constexpr Time kStart{std::chrono::hours(1)};
constexpr Duration kServeWait = std::chrono::milliseconds(2);
/// Turns at timers' moments between two packets. Each takes a timer or more off its wheel, so only
/// a clock that jumps over very many timers needs more; the rest then fires at the packet's time.
constexpr int kMostTurns = 4096;
constexpr Duration kShortestStep = std::chrono::milliseconds(1);
constexpr std::uint64_t kPacketsPerControlTurn = 256;
constexpr std::size_t kEventRoom = 4096;
constexpr std::size_t kRemovalsPerTurn = 256;
constexpr std::size_t kMostBroadcasts = 1024;

/// Drops of reassembly, which only the path's counters tell of.
constexpr std::array kPieceDrops = {packet::Drop::fragment_malformed,
                                    packet::Drop::fragment_overlap, packet::Drop::fragment_memory,
                                    packet::Drop::buffers_exhausted};

engine::Options engine_options(const Options& options) {
  engine::Options engine;
  engine.conntrack.max = options.conntrack_max;
  engine.conntrack.event_ring = kEventRoom;
  engine.worker.batch = 1;
  engine.worker.small_buffers = 1024;
  engine.worker.large_buffers = 64;
  return engine;
}

Time frozen_clock() { return kStart; }

}  // namespace

Player::Player(const Options& options)
    : options_(options),
      sides_(options.inside),
      journal_(options.explain),
      wires_{WirePort(Side::inside, journal_), WirePort(Side::outside, journal_)},
      host_(journal_),
      now_(kStart) {}

Player::~Player() = default;

Result<std::unique_ptr<Player>> Player::create(const Options& options) {
  std::unique_ptr<Player> player(new Player(options));
  auto engine = engine::Engine::create(engine_options(options), kStart);
  if (!engine) return std::unexpected(engine.error());
  player->engine_ = std::move(*engine);
  engine::Engine& made = *player->engine_;
  build_network(options, player->sides_, made.routing());
  for (const Side side : {Side::inside, Side::outside}) {
    made.add_port({.name = side == Side::inside ? "inside" : "outside",
                   .ifindex = ifindex_of(side),
                   .queues = {{.wire = &player->wires_[static_cast<std::size_t>(side)],
                               .host = &player->host_}}});
  }
  made.start();
  made.worker(0).path().set_observer(&player->journal_);
  made.rules().set_replay_now(kStart);
  player->mapper_ = std::make_unique<Mapper>(made.conntrack(), made.conntrack().epochs(),
                                             made.control_participant());
  return player;
}

Result<void> Player::load_rules(const std::string& file) {
  auto folder = TemporaryFolder::make("replay");
  if (!folder) return std::unexpected(folder.error());
  const std::string socket = folder->file("weir.sock");
  auto control = engine::ControlPlane::open(
      *engine_, {.socket_path = socket, .socket_file = {.mode = 0600}}, frozen_clock);
  if (!control) return std::unexpected(control.error());
  const auto serve = [&] { (*control)->serve_once(kServeWait); };
  if (auto loaded = engine::load_rules(socket, file, serve); !loaded) return loaded;
  const auto listing = engine::run_tool({"nft", "-a", "-s", "list", "ruleset"}, socket, serve);
  if (!listing) return std::unexpected(listing.error());
  if (listing->exit_code != 0)
    return std::unexpected(
        Error{EINVAL, "nft can't list the rules that it has loaded: " + listing->messages});
  book_ = RuleBook(engine_->rules(), listing->output);
  journal_.set_book(&book_);
  return {};
}

void Player::play(io::Queue& source, io::Queue* writer, StoryTeller* teller) {
  engine_->conntrack().set_wanted_events(conntrack::event::kDestroy);
  engine_->open();
  for (WirePort& wire : wires_) wire.copy_to(writer);
  for (;;) {
    packet::Batch batch(1);
    if (source.receive(batch, engine_->worker(0).pool()) == 0) break;
    play_one(batch[0], teller);
  }
  end_expired();
  totals_.own = engine_->worker(0).counters().generated.value();
  totals_.flows_lost = engine_->conntrack().statistics(0).events_lost;
  engine_->worker(0).rest();
}

Duration Player::wall_of(Time now) const { return totals_.first + (now - kStart); }

void Player::turn(Time now) {
  now_ = now;
  for (WirePort& wire : wires_) wire.set_stamp(wall_of(now));
  engine_->worker(0).turn(now, wall_of(now));
  gather_ended();
}

/// The clock goes on to `wall`; on the way, timers fire.
void Player::advance(Duration wall) {
  const Time until = std::max(now_, kStart + (wall - totals_.first));
  journal_.begin(now_, Verdict::dropped);  // What timers cause belongs to no packet.
  for (int turns = 0; turns < kMostTurns; ++turns) {
    const Time due = engine_->worker(0).next_deadline();
    if (due > until) break;
    turn(std::min(until, std::max(due, now_ + kShortestStep)));
    if (now_ >= until) break;
  }
  now_ = until;
}

void Player::play_one(packet::Packet* packet, StoryTeller* teller) {
  keep_time(*packet);
  PacketStory story = make_ready(*packet, teller != nullptr);
  const bool is_piece =
      story.prepared.verdict == pipeline::HeaderVerdict::ok && packet->is_fragment;
  run(packet, story.side, is_piece);
  story.seen = &journal_.current();
  count(story);
  if (teller != nullptr) teller->tell(story);
}

void Player::keep_time(const packet::Packet& packet) {
  const Duration wall = packet.arrived.time_since_epoch();
  if (++totals_.read == 1) {
    totals_.first = totals_.last = wall;
    engine_->conntrack().set_wall_offset(wall - kStart.time_since_epoch());
  }
  totals_.last = std::max(totals_.last, wall);
  advance(wall);
  if (totals_.read % kPacketsPerControlTurn != 0) return;
  engine_->rules().set_replay_now(now_);
  engine_->control_turn();
}

/// What the capture made of the packet is undone, and its side is found.
PacketStory Player::make_ready(packet::Packet& packet, bool with_texts) {
  PacketStory story{.number = totals_.read,
                    .since_first = packet.arrived.time_since_epoch() - totals_.first,
                    .is_cut = packet.is_cut,
                    .prepared = prepare(packet, options_.strict_checksums, options_.mtu_bytes)};
  if (with_texts) story.text = packet_text(packet);
  if (story.prepared.verdict != pipeline::HeaderVerdict::ok) return story;
  story.is_mapped = mapper_->map(packet, now_);
  story.side = sides_.of(packet.family, source_of(packet));
  learn_broadcast(packet, story.side);
  if (with_texts) story.ends = ends_text(packet);
  return story;
}

/// Through the engine, watched by the journal.
void Player::run(packet::Packet* packet, Side side, bool is_piece) {
  const auto refused = [&](packet::Drop drop) {
    return engine_->worker(0).counters().drops[static_cast<std::size_t>(drop)].value();
  };
  std::array<std::uint64_t, kPieceDrops.size()> before;
  std::ranges::transform(kPieceDrops, before.begin(), refused);

  journal_.begin(now_, is_piece ? Verdict::held : Verdict::not_ip);
  wires_[static_cast<std::size_t>(side)].put(packet);
  turn(now_);
  if (journal_.current().verdict != Verdict::held) return;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (refused(kPieceDrops[i]) != before[i]) journal_.refuse_piece(kPieceDrops[i]);
  }
}

void Player::count(const PacketStory& story) {
  totals_.cut += story.is_cut ? 1 : 0;
  totals_.mapped += story.is_mapped ? 1 : 0;
  totals_.ip_repaired += story.prepared.ip_was_repaired ? 1 : 0;
  totals_.transport_repaired += story.prepared.transport_was_repaired ? 1 : 0;
  totals_.offloaded += story.prepared.is_offloaded ? 1 : 0;
  switch (story.seen->verdict) {
    case Verdict::forwarded:
      ++totals_.forwarded;
      break;
    case Verdict::to_host:
      ++totals_.to_host;
      break;
    case Verdict::dropped:
      ++totals_.dropped;
      ++totals_.drops[static_cast<std::size_t>(story.seen->drop)];
      break;
    case Verdict::held:
      ++totals_.held;
      break;
    case Verdict::not_ip:
      ++totals_.not_ip;
      break;
  }
}

Flow Player::flow_of(const conntrack::Snapshot& connection, bool is_over) const {
  const Time seen = journal_.last_seen(connection.number);
  return {.connection = connection,
          .is_over = is_over,
          .last_seen = seen == Time{} ? connection.start : wall_of(seen)};
}

void Player::gather_ended() {
  conntrack::EventRing& ring = engine_->conntrack().tracker(0).events();
  while (const conntrack::Event* const event = ring.front()) {
    if ((event->bits & conntrack::event::kDestroy) != 0)
      ended_.push_back(flow_of(event->connection, true));
    ring.pop();
  }
}

/// Nobody told which networks the sides have, but a frame to all with a unicast destination tells a
/// network's broadcast address: that is the host's, as a gateway with an address in the network
/// knows.
void Player::learn_broadcast(const packet::Packet& packet, Side side) {
  if (packet.family != wire::Family::ip || packet.link_type != packet::LinkType::broadcast) return;
  const wire::Address destination = destination_of(packet);
  const std::uint8_t first = destination.bytes[0];
  if (first == 0 || first == 127 || first >= 224 || broadcasts_.size() >= kMostBroadcasts) return;
  if (!broadcasts_.insert(destination.v4().raw).second) return;
  engine_->routing().add({.table = routing::kTableLocal,
                          .destination = {wire::Family::ip, destination, 32},
                          .type = routing::RouteType::broadcast,
                          .scope = routing::kScopeLink,
                          .next_hops = {{.ifindex = ifindex_of(side)}}});
}

/// At the end: connections whose time is over but whose timer, which is lazy, has not fired. They
/// are told as ended too.
void Player::end_expired() {
  conntrack::Table& table = engine_->conntrack();
  std::size_t posted = 0;
  for (std::uint32_t number = 1; number < table.arena().used_end(); ++number) {
    const conntrack::Entry& entry = table.arena()[number];
    if (entry.committed.load(std::memory_order_acquire) == 0) continue;
    {
      const EpochGuard guard(table.epochs(), engine_->control_participant());
      if (table.snapshot(number, now_)) continue;
    }
    std::uint64_t ticket = 0;
    const conntrack::Change removal{
        .kind = conntrack::Change::Kind::remove, .number = number, .generation = entry.generation};
    if (table.tracker(0).post(removal, ticket) && ++posted % kRemovalsPerTurn == 0) turn(now_);
  }
  turn(now_);
}

std::vector<Flow> Player::flows() {
  std::vector<Flow> all = ended_;
  const conntrack::Control control(engine_->conntrack(), engine_->control_participant());
  conntrack::Control::Cursor cursor;
  control.dump(cursor, SIZE_MAX, now_, [&](const conntrack::Snapshot& connection) {
    all.push_back(flow_of(connection, false));
    return true;
  });
  std::ranges::stable_sort(all, {}, [](const Flow& flow) { return flow.connection.start; });
  return all;
}

}  // namespace weir::replay
