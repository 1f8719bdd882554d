// Datagrams of a tool to an engine: nf_tables, ctnetlink and weir's own subsystem, singly and in
// batches. Whatever rules come of it are then run over packets. In the end `flush ruleset` must
// leave nothing. A record (records.h) is a datagram; control bit 0 sends it as a user who may only
// read.
#include <linux/netfilter/nf_tables.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <memory>

#include "control/ctnetlink/ctnetlink.h"
#include "control/nftables/nftables.h"
#include "control/own/own.h"
#include "control/server/dispatcher.h"
#include "control/server/session.h"
#include "tests/fuzz/records.h"
#include "tests/fuzz/require.h"
#include "tests/memory/gateway.h"
#include "wire/build.h"
#include "wire/protocol.h"

namespace weir::test {
namespace {

class Deaf final : public control::Publisher {
 public:
  bool has_listeners(std::uint32_t) const override { return true; }
  int publish(const control::Notice& notice) override {
    require(!notice.datagram.empty(), "a notice says something");
    return 0;
  }
};

/// A tool's socket, whose answers are read and thrown away.
class Tool {
 public:
  explicit Tool(bool may_change) : session_(identity(may_change), limits_) {
    int ends[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0,
            "there are sockets");
    epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
    reader_ = FileDescriptor(ends[0]);
    epoll_event event{};
    require(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, ends[1], &event) == 0, "the socket is watched");
    session_.attach(FileDescriptor(ends[1]), epoll_.get());
    session_.set_port_id(1);
  }
  control::Session& session() { return session_; }
  /// Reads until a dump has ended.
  void read() {
    for (int i = 0; i < 1000; ++i) {
      char buffer[65536];
      while (recv(reader_.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
      }
      if (!session_.is_dumping()) return;
      session_.pump();
    }
    require(false, "a dump ends");
  }

 private:
  static control::Session::Identity identity(bool may_change) {
    return {.number = 1,
            .secret = 1,
            .peer = {},
            .rights = {.may_read = true, .may_change = may_change},
            .process_id = 1,
            .socket_type = SOCK_RAW};
  }

  control::BufferLimits limits_;
  FileDescriptor epoll_, reader_;
  control::Session session_;
};

struct World {
  std::unique_ptr<MemoryGateway> gateway;
  Deaf publisher;
  std::unique_ptr<control::Nftables> nftables;
  std::unique_ptr<control::Ctnetlink> ctnetlink;
  std::unique_ptr<control::OwnSubsystem> own;
  control::Dispatcher dispatcher;
};

World& world() {
  static World world;
  if (world.gateway) return world;
  auto made =
      MemoryGateway::create({.conntrack_max = 256, .small_buffers = 128, .large_buffers = 2});
  require(made.has_value(), "there is a gateway");
  world.gateway = std::move(*made);
  engine::Engine& engine = world.gateway->engine();
  engine.open();
  world.nftables = std::make_unique<control::Nftables>(engine.rules(), world.publisher);
  world.ctnetlink = std::make_unique<control::Ctnetlink>(
      engine.conntrack(), engine.control_participant(), [] { return world.gateway->now(); },
      &engine.nat());
  world.own = std::make_unique<control::OwnSubsystem>(engine, engine);
  world.dispatcher.add(*world.nftables);
  world.dispatcher.add(*world.ctnetlink);
  world.dispatcher.add(*world.own);
  return world;
}

void pass_packets(MemoryGateway& gateway) {
  static const auto frames = [] {
    const auto payload = wire::pattern(40);
    return std::array{
        wire::build_frame({.src = "10.1.0.1",
                           .dst = "198.51.100.1",
                           .protocol = wire::protocol::kTcp,
                           .tcp_options = {2, 4, 5, 0xb4, 4, 2, 1, 1},
                           .payload = payload}),
        wire::build_frame({.src = "10.1.0.1", .dst = "198.51.100.1", .payload = payload}),
        wire::build_frame({.src = "10.1.0.1",
                           .dst = "198.51.100.2",
                           .protocol = wire::protocol::kIcmp,
                           .payload = payload}),
        wire::build_frame({.src = "2001:db8:a::1",
                           .dst = "2001:db8:f::1",
                           .ip_options = {17, 0, 1, 4, 0, 0, 0, 0},
                           .first_header = wire::protocol::kDestinationOptions,
                           .payload = payload}),
        wire::build_frame({.src = "10.1.0.1", .dst = "203.0.113.1", .payload = payload}),
        wire::ByteVector{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 6, 0, 1},
    };
  }();
  for (int i = 0; i < 2; ++i) {
    for (const auto& frame : frames) gateway.put(Side::lan, frame);
    gateway.turn();
    for (const Side side : {Side::lan, Side::wan}) {
      while (!gateway.take(side).empty()) {
      }
    }
    gateway.advance(std::chrono::milliseconds(10));
  }
}

/// What `nft flush ruleset` sends.
netlink::Buffer flush_ruleset() {
  netlink::Buffer buffer;
  auto message = [&](std::uint16_t type, std::uint16_t resource) {
    const nlmsghdr header{.nlmsg_len = 20,
                          .nlmsg_type = type,
                          .nlmsg_flags = NLM_F_REQUEST,
                          .nlmsg_seq = 1,
                          .nlmsg_pid = 0};
    const nfgenmsg family{
        .nfgen_family = 0, .version = 0, .res_id = static_cast<std::uint16_t>(resource << 8)};
    for (const std::uint8_t byte : as_bytes(header)) buffer.push_back(byte);
    for (const std::uint8_t byte : as_bytes(family)) buffer.push_back(byte);
  };
  message(NFNL_MSG_BATCH_BEGIN, NFNL_SUBSYS_NFTABLES);
  message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE, 0);
  message(NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES);
  return buffer;
}

}  // namespace
}  // namespace weir::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::test;
  World& all = world();
  all.gateway->engine().rules().set_replay_now(all.gateway->now());
  pass_packets(*all.gateway);  // So that there are connections to ask for.

  weir::Bytes input(data, size);
  while (const auto record = take_record(input)) {
    Tool tool((record->control & 1) == 0);
    all.dispatcher.execute(tool.session(), record->bytes);
    tool.read();
    pass_packets(*all.gateway);
  }

  Tool tool(true);
  static const auto flush = flush_ruleset();
  all.dispatcher.execute(tool.session(), flush);
  require(all.gateway->engine().rules().tables.is_empty(), "flush ruleset leaves nothing");
  all.gateway->forget();
  return 0;
}
