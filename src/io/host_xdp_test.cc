// The host's own traffic on a port by AF_XDP: what is written to the TAP arrives in the stack on
// the real port, although the port has an XDP program, native or generic.
#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>

#include <cstring>
#include <memory>
#include <vector>

#include "io/af_xdp.h"
#include "io/host_hooks.h"
#include "io/host_tap.h"
#include "io/veth_test.h"
#include "wire/build.h"

namespace weir::io {
namespace {

using packet::Packet;

constexpr wire::MacAddress kPortMac = {2, 0, 0, 0, 0, 0x0a};
constexpr wire::MacAddress kPeerMac = {2, 0, 0, 0, 0, 0x0b};

class HostXdp : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!lab.is_made()) GTEST_SKIP() << "needs root, namespaces and veth";
    const bool is_generic = GetParam();
    ASSERT_TRUE(lab.run("ip addr add 192.0.2.1/24 dev port0") &&
                lab.run("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:0b dev port0"));
    const std::uint32_t ifindex = if_nametoindex("port0");
    auto made_tap = open_host_tap(ifindex, 1);
    ASSERT_TRUE(made_tap.has_value()) << made_tap.error().text;
    if (is_generic) {  // A veth refuses native XDP when its peer's frames don't fit a page.
      ASSERT_TRUE(lab.run("ip link set far0 mtu 9000"));
    }
    auto descriptors =
        open_xdp({.device = "port0", .ifindex = ifindex, .allows_generic = is_generic});
    ASSERT_TRUE(descriptors.has_value()) << descriptors.error().text;
    ASSERT_EQ(descriptors->is_native, !is_generic);
    auto made = make_xdp_queues(std::move(*descriptors), {});
    ASSERT_TRUE(made.has_value()) << made.error().text;
    wire = std::move(made->front());
    heartbeat = std::move(*make_heartbeat());
    auto attached = HostHooks::attach({.port = "port0",
                                       .port_ifindex = ifindex,
                                       .tap_ifindex = made_tap->ifindex,
                                       .heartbeat = heartbeat.get(),
                                       .has_generic_xdp = is_generic});
    ASSERT_TRUE(attached.has_value()) << attached.error().text;
    hooks = std::move(*attached);
    tap = std::move(make_tap_queues(std::move(made_tap->queues)).front());
  }

  void send(Queue& queue, const wire::ByteVector& frame) {
    Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
    std::memcpy(packet->frame(), frame.data(), frame.size());
    packet->length = static_cast<std::uint32_t>(frame.size());
    Packet* const one[] = {packet};
    queue.send(one, pool);
    queue.kick();
  }
  /// The first packet within a second; none: empty.
  wire::ByteVector receive(Queue& queue) {
    pollfd readable{.fd = queue.wait_fd(), .events = POLLIN, .revents = 0};
    packet::Batch batch(1);
    if (poll(&readable, 1, 1000) <= 0 || queue.receive(batch, pool) == 0) return {};
    const Bytes bytes = batch[0]->bytes();
    wire::ByteVector frame(bytes.begin(), bytes.end());
    pool.release(batch[0]);
    return frame;
  }

  VethLab lab;
  packet::Pool pool{64, 8};
  std::unique_ptr<Queue> wire, tap;
  FileDescriptor heartbeat;
  std::unique_ptr<HostHooks> hooks;
};

TEST_P(HostXdp, WhatIsWrittenForTheHostIsAnswered) {
  for (const std::size_t payload : {20, 1400}) {
    send(*tap, wire::build_frame({.src = "192.0.2.2",
                                  .dst = "192.0.2.1",
                                  .protocol = 1,
                                  .payload = wire::pattern(payload),
                                  .dst_mac = kPortMac,
                                  .src_mac = kPeerMac}));
    const auto answer = receive(*tap);
    ASSERT_EQ(answer.size(), 14U + 20 + 8 + payload) << "an echo reply leaves by the TAP";
    EXPECT_EQ(answer[14 + 20], 0);
    EXPECT_TRUE(receive(*wire).empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, HostXdp, testing::Bool(), [](const auto& param) {
  return std::string(param.param ? "Generic" : "Native");
});

}  // namespace
}  // namespace weir::io
