#include "io/af_xdp.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "io/live_frames.h"
#include "io/veth_test.h"
#include "packet/checksum.h"
#include "wire/build.h"
#include "wire/checksum.h"

namespace weir::io {
namespace {

using packet::Packet;
using wire::ByteVector;

constexpr wire::MacAddress kPortMac = {2, 0, 0, 0, 0, 0x0a};
constexpr wire::MacAddress kPeerMac = {2, 0, 0, 0, 0, 0x0b};

/// The far end of the cable: what the port's peer sends and sees.
class Peer {
 public:
  Peer() : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
    const int size = 16 << 20;
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    const int one = 1;
    setsockopt(socket_.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex("far0"));
    is_open_ = bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool is_open() const { return is_open_; }
  void send(const ByteVector& frame) {
    EXPECT_EQ(::send(socket_.get(), frame.data(), frame.size(), 0),
              static_cast<ssize_t>(frame.size()));
  }
  /// Up to `count` IPv4 frames, waiting a second for each.
  std::vector<ByteVector> receive(std::size_t count) {
    std::vector<ByteVector> frames;
    while (frames.size() < count) {
      pollfd readable{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (poll(&readable, 1, 1000) <= 0) break;
      ByteVector frame(4096);
      const ssize_t bytes = recv(socket_.get(), frame.data(), frame.size(), 0);
      if (bytes < 14 || frame[12] != 8 || frame[13] != 0) continue;
      frame.resize(static_cast<std::size_t>(bytes));
      frames.push_back(std::move(frame));
    }
    return frames;
  }

 private:
  FileDescriptor socket_;
  bool is_open_ = false;
};

class AfXdp : public testing::Test {
 protected:
  AfXdp() {
    if (lab.is_made()) lab.run("ethtool -K far0 tx off tso off txvlan off gro on");
  }
  void SetUp() override {
    if (!lab.is_made()) GTEST_SKIP() << "needs root, namespaces and veth";
  }

  void open(bool has_live_frames, std::size_t workers = 1, const XdpQueueOptions& options = {}) {
    auto descriptors = open_xdp({.device = "port0",
                                 .ifindex = if_nametoindex("port0"),
                                 .workers = workers,
                                 .has_live_frames = has_live_frames});
    ASSERT_TRUE(descriptors.has_value()) << descriptors.error().text;
    EXPECT_TRUE(descriptors->is_native);
    auto made = make_xdp_queues(std::move(*descriptors), options);
    ASSERT_TRUE(made.has_value()) << made.error().text;
    queues = std::move(*made);
    peer = std::make_unique<Peer>();
    ASSERT_TRUE(peer->is_open());
  }

  /// Waits up to a second for `count` packets.
  std::vector<Packet*> receive(std::size_t count) { return receive(*queues[0], count); }
  std::vector<Packet*> receive(Queue& queue, std::size_t count) {
    std::vector<Packet*> packets;
    while (packets.size() < count) {
      pollfd readable{.fd = queue.wait_fd(), .events = POLLIN, .revents = 0};
      if (poll(&readable, 1, 1000) <= 0) break;
      packet::Batch batch;
      queue.receive(batch, pool);
      packets.insert(packets.end(), batch.begin(), batch.end());
    }
    return packets;
  }
  void release(const std::vector<Packet*>& packets) {
    for (Packet* packet : packets) pool.release(packet);
  }

  Packet* make(const ByteVector& frame) {
    Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
    std::memcpy(packet->frame(), frame.data(), frame.size());
    packet->length = static_cast<std::uint32_t>(frame.size());
    return packet;
  }
  /// Sends `count` frames of various lengths and expects each at the peer, unchanged and in order.
  void expect_sent(io::Queue& queue, std::size_t count) {
    std::vector<ByteVector> frames;
    for (std::size_t i = 0; i < count; ++i) {
      frames.push_back(wire::build_frame({.src_port = static_cast<std::uint16_t>(i),
                                          .payload = wire::pattern(18 + i * 37 % 1400),
                                          .dst_mac = kPeerMac,
                                          .src_mac = kPortMac}));
      Packet* const one[] = {make(frames.back())};
      queue.send(one, pool);
    }
    queue.kick();
    EXPECT_EQ(peer->receive(count), frames);
    EXPECT_EQ(queue.counters().tx_packets.value(), count);
    EXPECT_EQ(queue.counters().tx_failed.value(), 0U);
    EXPECT_EQ(pool.small_free(), kBuffers);
  }

  static constexpr std::size_t kBuffers = 2048;
  VethLab lab;
  packet::Pool pool{kBuffers, 8};
  std::vector<std::unique_ptr<Queue>> queues;
  std::unique_ptr<Peer> peer;
};

TEST_F(AfXdp, IpComesWholeAndInOrder) {
  open(false);
  constexpr std::size_t kCount = 300;
  std::vector<ByteVector> frames;
  for (std::size_t i = 0; i < kCount; ++i) {
    frames.push_back(wire::build_frame(
        {.payload = wire::pattern(i * 5 % 1400), .dst_mac = kPortMac, .src_mac = kPeerMac}));
    peer->send(frames.back());
  }
  const auto packets = receive(kCount);
  ASSERT_EQ(packets.size(), kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    const Bytes got = packets[i]->bytes();
    EXPECT_EQ(ByteVector(got.begin(), got.end()), frames[i]);
    EXPECT_EQ(packets[i]->link_type, packet::LinkType::host);
  }
  release(packets);
}

TEST_F(AfXdp, TheRestIsTheKernels) {
  open(false);
  const ByteVector taken = wire::build_frame(
      {.src = "2001:db8::1", .dst = "2001:db8::2", .dst_mac = kPortMac, .src_mac = kPeerMac});
  ByteVector arp(60);
  std::copy(taken.begin(), taken.begin() + 12, arp.begin());
  arp[12] = 8;
  arp[13] = 6;
  const ByteVector solicitation = wire::build_frame({.src = "fe80::1",
                                                     .dst = "fe80::2",
                                                     .protocol = 58,
                                                     .ttl = 255,
                                                     .icmp_type = 135,
                                                     .dst_mac = kPortMac,
                                                     .src_mac = kPeerMac});
  ByteVector routed_solicitation = solicitation;
  routed_solicitation[14 + 7] = 64;  // Not from this link: no neighbour discovery.
  ByteVector tagged = taken;
  const std::uint8_t tag[] = {0x81, 0x00, 0x00, 0x05};
  tagged.insert(tagged.begin() + 12, std::begin(tag), std::end(tag));
  ByteVector priority = tagged;
  priority[14] = 0x60;
  priority[15] = 0;
  for (const auto& frame : {arp, solicitation, tagged, routed_solicitation, priority, taken})
    peer->send(frame);

  const auto packets = receive(3);
  ASSERT_EQ(packets.size(), 3U);
  EXPECT_EQ(packets[0]->frame()[14 + 7], 64);
  EXPECT_EQ(packets[1]->frame()[12], 0x81);
  const Bytes last = packets[2]->bytes();
  EXPECT_EQ(ByteVector(last.begin(), last.end()), taken);
  EXPECT_TRUE(receive(1).empty());
  release(packets);
}

TEST_F(AfXdp, WhoseFrameItIs) {
  open(false);
  const wire::MacAddress other = {2, 0, 0, 0, 0, 0x77};
  const wire::MacAddress group = {1, 0, 0x5e, 0, 0, 1};
  for (const wire::MacAddress& mac : {kPortMac, other, wire::kBroadcastMac, group})
    peer->send(wire::build_frame({.dst_mac = mac, .src_mac = kPeerMac}));
  auto packets = receive(4);
  ASSERT_EQ(packets.size(), 4U);
  EXPECT_EQ(packets[0]->link_type, packet::LinkType::host);
  EXPECT_EQ(packets[1]->link_type, packet::LinkType::other_host);
  EXPECT_EQ(packets[2]->link_type, packet::LinkType::broadcast);
  EXPECT_EQ(packets[3]->link_type, packet::LinkType::multicast);
  release(packets);
}

TEST_F(AfXdp, ANewMacIsNoticed) {
  open(false);
  ASSERT_TRUE(lab.run("ip link set port0 address 02:00:00:00:00:55"));
  peer->send(wire::build_frame({.dst_mac = {2, 0, 0, 0, 0, 0x55}, .src_mac = kPeerMac}));
  const auto packets = receive(1);
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_EQ(packets[0]->link_type, packet::LinkType::host);
  release(packets);
}

TEST_F(AfXdp, SendsByItsRing) {
  open(false);
  expect_sent(*queues[0], 1000);
}

TEST_F(AfXdp, SendsLiveFrames) {
  open(true);
  expect_sent(*queues[0], 1000);
}

TEST_F(AfXdp, SendsAFewLiveFrames) {
  open(true);
  expect_sent(*queues[0], 3);
}

TEST_F(AfXdp, AWorkerWithoutAReceiveQueueSends) {
  open(false, 2);
  ASSERT_EQ(queues.size(), 2U);
  EXPECT_EQ(queues[1]->wait_fd(), -1);
  expect_sent(*queues[1], 100);
}

TEST_F(AfXdp, EachWorkerSendsLiveFrames) {
  open(true, 2, {.first_worker = 1});
  expect_sent(*queues[0], 100);
  expect_sent(*queues[1], 100);
  peer->send(wire::build_frame({.dst_mac = kPortMac, .src_mac = kPeerMac}));
  EXPECT_TRUE(receive(*queues[0], 1).empty());
  const auto packets = receive(*queues[1], 1);
  EXPECT_EQ(packets.size(), 1U);
  release(packets);
}

TEST_F(AfXdp, WhatIsUnfinishedIsFinished) {
  open(false);
  Packet* const packet = make(wire::build_frame(
      {.protocol = 6, .payload = wire::pattern(3000), .dst_mac = kPeerMac, .src_mac = kPortMac}));
  packet->family = wire::Family::ip;
  packet->l4_protocol = 6;
  packet->l3_offset = 14;
  packet->l4_offset = 34;
  packet->ip_length = packet->length - 14;
  packet->checksum = packet::Checksum::partial;
  packet->csum_start = 34;
  packet->csum_offset = 16;
  packet->gso = {.type = packet::Gso::Type::tcp4, .has_ecn = false, .segment_bytes = 1000};
  Packet* const one[] = {packet};
  queues[0]->send(one, pool);
  queues[0]->kick();
  const auto frames = peer->receive(3);
  ASSERT_EQ(frames.size(), 3U);
  for (const ByteVector& frame : frames) {
    EXPECT_EQ(frame.size(), 14U + 20 + 20 + 1000);
    Packet* const got = make(frame);
    got->family = wire::Family::ip;
    got->l4_protocol = 6;
    got->l3_offset = 14;
    got->l4_offset = 34;
    got->ip_length = got->length - 14;
    EXPECT_TRUE(packet::verify_checksum(*got));
    pool.release(got);
  }
}

TEST_F(AfXdp, TheProgramGoesWithItsQueues) {
  open(false);
  EXPECT_TRUE(lab.run("ip link show port0 | grep -q xdp"));
  queues.clear();
  EXPECT_FALSE(lab.run("ip link show port0 | grep -q xdp"));
}

TEST_F(AfXdp, AnotherProgramIsLeftAlone) {
  open(false);
  const auto second = open_xdp({.device = "port0", .ifindex = if_nametoindex("port0")});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, EBUSY);
  EXPECT_NE(second.error().text.find("another XDP program"), std::string::npos);
}

TEST_F(AfXdp, AnMtuThatIsTooLargeIsRefused) {
  ASSERT_TRUE(lab.run("ip link set port0 mtu 3450"));
  const auto descriptors = open_xdp({.device = "port0", .ifindex = if_nametoindex("port0")});
  ASSERT_FALSE(descriptors.has_value());
  EXPECT_EQ(descriptors.error().code, EINVAL);
}

}  // namespace
}  // namespace weir::io
