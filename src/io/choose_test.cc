#include "io/choose.h"

#include <gtest/gtest.h>

#include "io/ethtool.h"
#include "io/veth_test.h"

namespace weir::io {
namespace {

constexpr std::uint64_t kNative = 1 | 2, kTransmits = 4, kZeroCopy = 8;

DeviceFacts network_card() {
  DeviceFacts facts;
  facts.device = "eth1";
  facts.mtu = 1500;
  facts.driver = "ixgbe";
  facts.own = {.tx_checksum = true, .tx_segmentation = true, .gro = true};
  facts.xdp_features = kNative | kTransmits;
  return facts;
}

DeviceFacts container(const Offloads& peer) {
  DeviceFacts facts = network_card();
  facts.kind = facts.driver = "veth";
  facts.peer = peer;
  return facts;
}

Choice chosen(const DeviceFacts& facts, const Wish& wish = {}) {
  const auto choice = choose(facts, wish);
  EXPECT_TRUE(choice.has_value()) << choice.error().text;
  return choice.value_or(Choice{});
}

TEST(Choose, ByWhatTheDeviceGives) {
  struct Case {
    const char* what;
    DeviceFacts facts;
    Driver driver;
    const char* why;
  };
  const auto with = [](DeviceFacts facts, auto change) {
    change(facts);
    return facts;
  };
  const Case cases[] = {
      {"a network card", network_card(), Driver::af_xdp, "native XDP"},
      {"no native XDP", with(network_card(), [](auto& f) { f.xdp_features = 0; }),
       Driver::af_packet, "no native XDP"},
      {"an old kernel, a known driver",
       with(network_card(), [](auto& f) { f.xdp_features.reset(); }), Driver::af_xdp, "whole"},
      {"an old kernel, another driver",
       with(network_card(),
            [](auto& f) {
              f.xdp_features.reset();
              f.driver = "r8169";
            }),
       Driver::af_packet, "r8169"},
      {"LRO", with(network_card(), [](auto& f) { f.own.rx_merging = true; }), Driver::af_packet,
       "lro off"},
      {"VLAN tags taken out", with(network_card(), [](auto& f) { f.own.rx_vlan = true; }),
       Driver::af_packet, "rxvlan off"},
      {"jumbo frames", with(network_card(), [](auto& f) { f.mtu = 9000; }), Driver::af_packet,
       "9000"},
      {"a bridge", with(network_card(), [](auto& f) { f.kind = "bridge"; }), Driver::af_packet,
       "bridge"},
      {"a container as it is made", container({.tx_checksum = true, .tx_segmentation = true}),
       Driver::af_packet, "unfinished checksums and long segments"},
      {"its segments alone", container({.tx_segmentation = true}), Driver::af_packet,
       "hands over long segments"},
      {"its VLAN tags", container({.tx_vlan = true}), Driver::af_packet, "txvlan off"},
      {"a container without offloads", container({.gro = true}), Driver::af_xdp, "whole"},
      {"a container out of sight", with(container({}), [](auto& f) { f.peer.reset(); }),
       Driver::af_packet, "can't be looked at"},
  };
  for (const Case& each : cases) {
    const Choice choice = chosen(each.facts);
    EXPECT_EQ(choice.driver, each.driver) << each.what;
    EXPECT_NE(choice.why.find(each.why), std::string::npos) << each.what << ": " << choice.why;
  }
}

TEST(Choose, HowFramesLeave) {
  DeviceFacts facts = network_card();
  EXPECT_EQ(chosen(facts).transmit, Transmit::live);
  EXPECT_EQ(chosen(facts, {.tx = "sendto"}).transmit, Transmit::sendto);
  facts.mtu = 3000;
  EXPECT_EQ(chosen(facts).transmit, Transmit::sendto);
  facts = network_card();
  facts.xdp_features = kNative | kTransmits | kZeroCopy;
  EXPECT_EQ(chosen(facts).transmit, Transmit::sendto);
  facts.xdp_features = kNative;
  EXPECT_EQ(chosen(facts).transmit, Transmit::sendto);
  EXPECT_EQ(chosen(facts, {.tx = "live"}).transmit, Transmit::live);
}

TEST(Choose, WhatIsSetIsKeptOrRefused) {
  DeviceFacts facts = container({.tx_checksum = true});
  const Choice forced = chosen(facts, {.driver = "af_xdp"});
  EXPECT_EQ(forced.driver, Driver::af_xdp);
  EXPECT_NE(forced.why.find("as set, but its peer hands over unfinished"), std::string::npos);
  EXPECT_EQ(chosen(network_card(), {.driver = "af_packet"}).driver, Driver::af_packet);

  facts.mtu = 9000;
  const auto too_large = choose(facts, {.driver = "af_xdp"});
  ASSERT_FALSE(too_large.has_value());
  EXPECT_EQ(too_large.error().code, EINVAL);
  EXPECT_FALSE(choose(network_card(), {.driver = "af_packet", .tx = "live"}).has_value());
  facts.mtu = 2500;
  EXPECT_FALSE(choose(facts, {.driver = "af_xdp", .tx = "live"}).has_value());
}

TEST(Choose, FeaturesByTheirNames) {
  Offloads offloads;
  for (const char* name : {"tx-generic-segmentation", "tx-checksum-fcoe-crc", "rx-checksum"})
    note_feature(name, offloads);
  EXPECT_FALSE(offloads.tx_checksum || offloads.tx_segmentation);
  note_feature("tx-checksum-ip-generic", offloads);
  note_feature("tx-tcp6-segmentation", offloads);
  EXPECT_TRUE(offloads.tx_checksum && offloads.tx_segmentation);
}

class Facts : public testing::Test {
 protected:
  void SetUp() override {
    if (!lab.is_made()) GTEST_SKIP() << "needs root, namespaces and veth";
  }
  VethLab lab;
};

TEST_F(Facts, OfAVeth) {
  auto facts = read_device_facts("port0");
  ASSERT_TRUE(facts.has_value()) << facts.error().text;
  EXPECT_EQ(facts->kind, "veth");
  EXPECT_EQ(facts->driver, "veth");
  EXPECT_EQ(facts->mtu, 1500U);
  EXPECT_GE(facts->rx_queues, 1U);
  ASSERT_TRUE(facts->peer.has_value());
  EXPECT_TRUE(facts->peer->tx_checksum && facts->peer->tx_segmentation);
  EXPECT_EQ(chosen(*facts).driver, Driver::af_packet);

  ASSERT_TRUE(lab.run("ethtool -K far0 tx off tso off txvlan off"));
  facts = read_device_facts("port0");
  ASSERT_TRUE(facts.has_value());
  EXPECT_EQ(chosen(*facts).driver, Driver::af_xdp) << chosen(*facts).why;
}

TEST_F(Facts, OfAPeerInAnotherNamespace) {
  const std::string name = "weir-io-test-" + std::to_string(getpid());
  ASSERT_TRUE(lab.run("ip netns add " + name));
  EXPECT_TRUE(lab.run("ip link set far0 netns " + name));
  EXPECT_TRUE(lab.run("ip netns exec " + name + " ethtool -K far0 tx off tso off"));
  const auto facts = read_device_facts("port0");
  EXPECT_TRUE(lab.run("ip netns del " + name));
  ASSERT_TRUE(facts.has_value()) << facts.error().text;
  ASSERT_TRUE(facts->peer.has_value());
  EXPECT_FALSE(facts->peer->tx_checksum || facts->peer->tx_segmentation);
  EXPECT_TRUE(facts->peer->tx_vlan);
}

TEST_F(Facts, OfNoDevice) {
  const auto facts = read_device_facts("nothing0");
  ASSERT_FALSE(facts.has_value());
  EXPECT_EQ(facts.error().code, ENODEV);
}

}  // namespace
}  // namespace weir::io
