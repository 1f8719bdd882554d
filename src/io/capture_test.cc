#include <gtest/gtest.h>
#include <pcap/pcap.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "io/memory_port.h"
#include "io/pcap_port.h"
#include "packet/checksum.h"
#include "wire/build.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"

namespace weir::io {
namespace {

using packet::Packet;
using wire::ByteVector;
using namespace std::chrono_literals;

struct Captured {
  ByteVector bytes;
  std::uint32_t true_bytes = 0;  // Zero: as many as there are.
  Time at = Time(1700000000s + 123456789ns);
};

class Captures : public testing::Test {
 protected:
  packet::Pool pool{128, 4};
  std::string path = testing::TempDir() + "weir_capture_" +
                     testing::UnitTest::GetInstance()->current_test_info()->name() + ".pcap";
  ~Captures() override { std::remove(path.c_str()); }

  void write(int dlt, const std::vector<Captured>& packets) {
    pcap_t* const handle =
        pcap_open_dead_with_tstamp_precision(dlt, 65535, PCAP_TSTAMP_PRECISION_NANO);
    pcap_dumper_t* const dumper = pcap_dump_open(handle, path.c_str());
    ASSERT_NE(dumper, nullptr);
    for (const Captured& packet : packets) {
      pcap_pkthdr header{};
      const auto since = packet.at.time_since_epoch();
      header.ts.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(since).count();
      header.ts.tv_usec = (since % 1s).count();
      header.caplen = static_cast<bpf_u_int32>(packet.bytes.size());
      header.len = packet.true_bytes != 0 ? packet.true_bytes : header.caplen;
      pcap_dump(reinterpret_cast<u_char*>(dumper), &header, packet.bytes.data());
    }
    pcap_dump_close(dumper);
    pcap_close(handle);
  }
  std::vector<Packet*> read_all() {
    auto port = PcapPort::open({.read_path = path, .write_path = "", .write_link = {}});
    EXPECT_TRUE(port.has_value()) << port.error().text;
    std::vector<Packet*> packets;
    while (!(*port)->is_finished()) {
      packet::Batch batch;
      (*port)->receive(batch, pool);
      packets.insert(packets.end(), batch.begin(), batch.end());
    }
    EXPECT_FALSE((*port)->read_error().has_value());
    return packets;
  }
  static ByteVector bytes_of(const Packet& packet) {
    return {packet.frame(), packet.frame() + packet.length};
  }
  static ByteVector prefixed(ByteVector head, const ByteVector& frame) {
    head.insert(head.end(), frame.begin() + 14, frame.end());
    return head;
  }
  /// The frame with the zeroed Ethernet header of a link that has none.
  static ByteVector unaddressed(ByteVector frame) {
    std::memset(frame.data(), 0, 12);
    return frame;
  }
};

const ByteVector kFrame = wire::build_frame({.payload = wire::pattern(50)});
const ByteVector kFrame6 =
    wire::build_frame({.src = "2001:db8::1", .dst = "2001:db8::2", .payload = wire::pattern(50)});

TEST_F(Captures, EthernetWithNanoseconds) {
  ByteVector broadcast = kFrame;
  std::memset(broadcast.data(), 0xff, 6);
  write(DLT_EN10MB, {{.bytes = kFrame}, {.bytes = broadcast}});
  const auto packets = read_all();
  ASSERT_EQ(packets.size(), 2U);
  EXPECT_EQ(bytes_of(*packets[0]), kFrame);
  EXPECT_EQ(packets[0]->arrived, Time(1700000000s + 123456789ns));
  EXPECT_EQ(packets[0]->link_type, packet::LinkType::host);
  EXPECT_FALSE(packets[0]->is_cut);
  EXPECT_EQ(packets[1]->link_type, packet::LinkType::broadcast);
}

TEST_F(Captures, LinksWithoutEthernet) {
  struct Case {
    const char* name;
    int dlt;
    ByteVector head, head6;
  };
  const Case cases[] = {
      {"raw", DLT_RAW, {}, {}},
      {"null, little endian", DLT_NULL, {2, 0, 0, 0}, {30, 0, 0, 0}},
      {"loop", DLT_LOOP, {0, 0, 0, 2}, {0, 0, 0, 24}},
      {"cooked",
       DLT_LINUX_SLL,
       {0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0},
       {0, 4, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 0x86, 0xdd}},
      {"cooked 2",
       DLT_LINUX_SLL2,
       {8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0},
       {0x86, 0xdd, 0, 0, 0, 0, 0, 2, 0, 1, 4, 6, 1, 2, 3, 4, 5, 6, 0, 0}},
  };
  for (const Case& c : cases) {
    write(c.dlt, {{.bytes = prefixed(c.head, kFrame)}, {.bytes = prefixed(c.head6, kFrame6)}});
    const auto packets = read_all();
    ASSERT_EQ(packets.size(), 2U) << c.name;
    EXPECT_EQ(bytes_of(*packets[0]), unaddressed(kFrame)) << c.name;
    EXPECT_EQ(bytes_of(*packets[1]), unaddressed(kFrame6)) << c.name;
    for (Packet* packet : packets) {
      EXPECT_EQ(packet->link_type, packet::LinkType::host) << c.name;
      pool.release(packet);
    }
  }
}

TEST_F(Captures, SnapLengthIsFilledUpAndFlagged) {
  ByteVector cut(kFrame.begin(), kFrame.begin() + 60);
  write(DLT_EN10MB, {{.bytes = cut, .true_bytes = static_cast<std::uint32_t>(kFrame.size())}});
  const auto packets = read_all();
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_TRUE(packets[0]->is_cut);
  EXPECT_EQ(packets[0]->checksum, packet::Checksum::verified);
  cut.resize(kFrame.size());
  EXPECT_EQ(bytes_of(*packets[0]), cut);
}

TEST_F(Captures, TooShortForTheLinkIsPassedOver) {
  write(DLT_LINUX_SLL,
        {{.bytes = ByteVector(15)},
         {.bytes = prefixed(ByteVector{0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0}, kFrame)}});
  EXPECT_EQ(read_all().size(), 1U);
}

TEST_F(Captures, EmptyPoolLosesNothing) {
  write(DLT_EN10MB, std::vector<Captured>(100, {.bytes = kFrame}));
  auto port = PcapPort::open({.read_path = path, .write_path = "", .write_link = {}});
  packet::Pool few(3, 0);
  std::size_t total = 0;
  while (!(*port)->is_finished()) {
    packet::Batch batch;
    total += (*port)->receive(batch, few);
    for (Packet* packet : batch) few.release(packet);
  }
  EXPECT_EQ(total, 100U);
}

TEST_F(Captures, WhatIsNoCaptureIsRefusedWithItsName) {
  std::ofstream(path) << "this is not a capture file at all";
  const auto port = PcapPort::open({.read_path = path, .write_path = "", .write_link = {}});
  ASSERT_FALSE(port.has_value());
  EXPECT_NE(port.error().text.find(path), std::string::npos);
  const auto absent =
      PcapPort::open({.read_path = "/nonexistent.pcap", .write_path = "", .write_link = {}});
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().code, ENOENT);
}

TEST_F(Captures, UnknownLinkTypeIsRefused) {
  write(DLT_IEEE802_11, {});
  const auto port = PcapPort::open({.read_path = path, .write_path = "", .write_link = {}});
  ASSERT_FALSE(port.has_value());
  EXPECT_EQ(port.error().code, EOPNOTSUPP);
}

TEST_F(Captures, BrokenOffInTheMiddleIsReported) {
  write(DLT_EN10MB, {{.bytes = kFrame}, {.bytes = kFrame}});
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::ofstream(path, std::ios::binary) << bytes.substr(0, bytes.size() - 10);
  auto port = PcapPort::open({.read_path = path, .write_path = "", .write_link = {}});
  packet::Batch batch;
  EXPECT_EQ((*port)->receive(batch, pool), 1U);
  EXPECT_TRUE((*port)->is_finished());
  EXPECT_TRUE((*port)->read_error().has_value());
}

TEST_F(Captures, WhatIsSentIsReadAgainWithTagsAndChecksums) {
  for (const auto link : {PcapPort::WriteLink::ethernet, PcapPort::WriteLink::raw}) {
    auto port = PcapPort::open({.read_path = "", .write_path = path, .write_link = link});
    ASSERT_TRUE(port.has_value());
    MemoryQueue source({});
    source.put_frame(kFrame, pool, Time(1700000001s + 5ns));
    packet::Batch batch;
    source.receive(batch, pool);
    batch[0]->l3_offset = 14;
    batch[0]->vlan_count = 1;
    batch[0]->vlan[0] = {.protocol = wire::ethertype::kVlan, .tci = 5};
    (*port)->send({batch.begin(), 1}, pool);
    EXPECT_EQ((*port)->counters().tx_packets.value(), 1U);
    ASSERT_TRUE((*port)->flush().has_value());
    const auto packets = read_all();
    ASSERT_EQ(packets.size(), 1U);
    EXPECT_EQ(packets[0]->arrived, Time(1700000001s + 5ns));
    ByteVector expected = unaddressed(kFrame);
    if (link == PcapPort::WriteLink::ethernet) {
      expected = kFrame;
      const ByteVector tag = {0x81, 0, 0, 5};
      expected.insert(expected.begin() + 12, tag.begin(), tag.end());
    }
    EXPECT_EQ(bytes_of(*packets[0]), expected);
    pool.release(packets[0]);
  }
}

TEST_F(Captures, MemoryKeepsOrderAndBounds) {
  MemoryQueue queue({.room = 3});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(queue.put_frame(kFrame, pool), i < 3);
  packet::Batch batch;
  EXPECT_EQ(queue.receive(batch, pool), 3U);
  queue.send({batch.begin(), 3}, pool);
  EXPECT_EQ(queue.take_sent(), batch[0]);
  EXPECT_EQ(queue.take_sent(), batch[1]);
  EXPECT_EQ(queue.take_sent(), batch[2]);
  EXPECT_EQ(queue.take_sent(), nullptr);
}

TEST_F(Captures, MemoryWithoutOffloadsCutsSegments) {
  MemoryQueue queue({});
  queue.put_frame(wire::build_frame({.protocol = 6, .payload = wire::pattern(3000)}), pool);
  packet::Batch batch;
  queue.receive(batch, pool);
  Packet& big = *batch[0];
  big.family = wire::Family::ip;
  big.l3_offset = 14;
  big.l4_offset = 34;
  big.l4_protocol = 6;
  big.ip_length = big.length - 14;
  big.gso = {.type = packet::Gso::Type::tcp4, .segment_bytes = 1000};
  queue.send({batch.begin(), 1}, pool);
  int count = 0;
  while (Packet* part = queue.take_sent()) {
    EXPECT_EQ(part->length, 1054U);
    pool.release(part);
    ++count;
  }
  EXPECT_EQ(count, 3);
  EXPECT_EQ(pool.large_free(), 4U);
}

TEST_F(Captures, PortThatIsDownSendsNothing) {
  MemoryQueue queue({});
  queue.put_frame(kFrame, pool);
  packet::Batch batch;
  queue.receive(batch, pool);
  queue.set_up(false);
  queue.send({batch.begin(), 1}, pool);
  EXPECT_EQ(queue.counters().tx_failed.value(), 1U);
  EXPECT_EQ(pool.small_free(), 128U);
}

}  // namespace
}  // namespace weir::io
