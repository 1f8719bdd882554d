#include "pipeline/header_check.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstring>
#include <functional>

#include "packet/pool.h"
#include "wire/build.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace weir::pipeline {
namespace {

using packet::Drop;
using packet::Packet;
using wire::ByteVector;

const wire::FrameSpec kIp6 = {.src = "2001:db8::1", .dst = "2001:db8::2"};

class HeaderCheck : public testing::Test {
 protected:
  packet::Pool pool{64, 2};

  Packet* packet_of(const ByteVector& frame) {
    Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
    packet->length = static_cast<std::uint32_t>(frame.size());
    if (!frame.empty()) std::memcpy(packet->frame(), frame.data(), frame.size());
    return packet;
  }
  Drop drop_of(const ByteVector& frame) {
    Packet* const packet = packet_of(frame);
    const HeaderVerdict verdict = check_headers(*packet);
    EXPECT_NE(verdict, HeaderVerdict::to_host);
    EXPECT_EQ(verdict == HeaderVerdict::drop, packet->drop != Drop::none);
    const Drop drop = packet->drop;
    pool.release(packet);
    return drop;
  }
  /// The frame with its IPv4 header changed and its checksum right again.
  static ByteVector changed(const std::function<void(wire::Ipv4&)>& change) {
    ByteVector frame = wire::build_frame({});
    auto& ip = wire::at<wire::Ipv4>(&frame[14]);
    change(ip);
    ip.set_checksum({0});
    ip.set_checksum(wire::finish(wire::sum(Bytes(&frame[14], 20))));
    return frame;
  }
};

TEST_F(HeaderCheck, FillsInWhatLaterStagesRelyOn) {
  ByteVector frame =
      wire::build_frame({.protocol = 6, .ip_options = {1, 1, 1, 1}, .payload = wire::pattern(4)});
  frame.resize(frame.size() + 10);  // Ethernet's padding.
  Packet* const packet = packet_of(frame);
  ASSERT_EQ(check_headers(*packet), HeaderVerdict::ok);
  EXPECT_EQ(packet->family, wire::Family::ip);
  EXPECT_EQ(packet->l3_offset, 14);
  EXPECT_EQ(packet->l4_offset, 38);
  EXPECT_EQ(packet->l4_protocol, 6);
  EXPECT_EQ(packet->ip_length, 48U);
  EXPECT_EQ(packet->length, 62U);
  EXPECT_EQ(packet->l4().size(), 24U);
  EXPECT_FALSE(packet->is_fragment);
}

TEST_F(HeaderCheck, Ip6WithExtensionHeaders) {
  wire::FrameSpec spec = kIp6;
  spec.ip_options = {60, 0, 5, 2, 0, 0, 1, 0, 17, 0, 1, 4, 0, 0, 0, 0};
  spec.first_header = 0;
  Packet* const packet = packet_of(wire::build_frame(spec));
  ASSERT_EQ(check_headers(*packet), HeaderVerdict::ok);
  EXPECT_EQ(packet->family, wire::Family::ip6);
  EXPECT_EQ(packet->l4_protocol, 17);
  EXPECT_EQ(packet->l4_offset, 14 + 56);
  EXPECT_EQ(packet->ip_length, 64U);
}

TEST_F(HeaderCheck, TagsMoveBesideTheFrame) {
  ByteVector frame = wire::build_frame({});
  const ByteVector tags = {0x88, 0xa8, 0x20, 0x05, 0x81, 0x00, 0x00, 0x07};
  frame.insert(frame.begin() + 12, tags.begin(), tags.end());
  Packet* const packet = packet_of(frame);
  packet->checksum = packet::Checksum::partial;
  packet->csum_start = 42;
  ASSERT_EQ(check_headers(*packet), HeaderVerdict::ok);
  ASSERT_EQ(packet->vlan_count, 2);
  EXPECT_EQ(packet->vlan[0].protocol.host(), 0x88a8);
  EXPECT_EQ(packet->vlan[0].id(), 5);
  EXPECT_EQ(packet->vlan[1].id(), 7);
  EXPECT_EQ(packet->csum_start, 34);
  EXPECT_EQ(ByteVector(packet->frame(), packet->frame() + packet->length), wire::build_frame({}));
}

TEST_F(HeaderCheck, AThirdTagIsTheHostsBusiness) {
  ByteVector frame = wire::build_frame({});
  for (int i = 0; i < 3; ++i) {
    const ByteVector tag = {0x81, 0x00, 0x00, 0x07};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  }
  EXPECT_EQ(check_headers(*packet_of(frame)), HeaderVerdict::to_host);
}

TEST_F(HeaderCheck, ArpIsTheHostsBusiness) {
  ByteVector frame(60);
  frame[12] = 0x08;
  frame[13] = 0x06;
  EXPECT_EQ(check_headers(*packet_of(frame)), HeaderVerdict::to_host);
}

TEST_F(HeaderCheck, FramesForOthersAreNotForUs) {
  Packet* const packet = packet_of(wire::build_frame({}));
  packet->link_type = packet::LinkType::other_host;
  EXPECT_EQ(check_headers(*packet), HeaderVerdict::drop);
  EXPECT_EQ(packet->drop, Drop::other_host);
}

TEST_F(HeaderCheck, MalformedIp) {
  const auto ip = [](auto change) { return changed(change); };
  struct Case {
    const char* description;
    ByteVector frame;
    Drop expected;
  };
  ByteVector short_header = wire::build_frame({});
  short_header.resize(14 + 19);
  ByteVector cut_options = wire::build_frame({.ip_options = ByteVector(40)});
  cut_options.resize(14 + 40);
  ByteVector bad_checksum = wire::build_frame({});
  bad_checksum[14 + 8] ^= 1;
  const Case cases[] = {
      {"good", wire::build_frame({}), Drop::none},
      {"no Ethernet header", ByteVector(13), Drop::truncated},
      {"header cut off", short_header, Drop::truncated},
      {"options cut off", cut_options, Drop::truncated},
      {"version 5", ip([](wire::Ipv4& h) { h.raw[0] = 0x55; }), Drop::bad_ip_header},
      {"header of 16 bytes", ip([](wire::Ipv4& h) { h.raw[0] = 0x44; }), Drop::bad_ip_header},
      {"longer than the frame", ip([](wire::Ipv4& h) { h.set_total_bytes(29); }), Drop::truncated},
      {"shorter than its header", ip([](wire::Ipv4& h) { h.set_total_bytes(19); }),
       Drop::bad_ip_header},
      {"header alone", ip([](wire::Ipv4& h) { h.set_total_bytes(20); }), Drop::none},
      {"checksum", bad_checksum, Drop::bad_ip_checksum},
  };
  for (const Case& c : cases) EXPECT_EQ(drop_of(c.frame), c.expected) << c.description;
}

TEST_F(HeaderCheck, RefusedIp6Addresses) {
  struct Case {
    const char* src;
    const char* dst;
    Drop expected;
  };
  const Case cases[] = {
      {"2001:db8::1", "2001:db8::2", Drop::none},
      {"::1", "2001:db8::2", Drop::not_forwardable_source},
      {"ff02::1", "2001:db8::2", Drop::not_forwardable_source},
      {"::ffff:192.0.2.1", "2001:db8::2", Drop::not_forwardable_source},
      {"2001:db8::1", "::1", Drop::not_forwardable_destination},
      {"2001:db8::1", "ff01::1", Drop::not_forwardable_destination},
      {"2001:db8::1", "ff00::1", Drop::not_forwardable_destination},
      {"2001:db8::1", "ff02::1", Drop::none},
      {"::", "ff02::1", Drop::none},  // Duplicate address detection.
  };
  for (const Case& c : cases) {
    EXPECT_EQ(drop_of(wire::build_frame({.src = c.src, .dst = c.dst})), c.expected)
        << c.src << " " << c.dst;
  }
}

TEST_F(HeaderCheck, HopByHopOptions) {
  struct Case {
    const char* description;
    ByteVector options;  // After the two bytes of the header, which make its length.
    Drop expected;
  };
  const Case cases[] = {
      {"router alert", {5, 2, 0, 0, 1, 0}, Drop::none},
      {"padding", {1, 4, 0, 0, 0, 0}, Drop::none},
      {"padding that isn't zero", {1, 4, 0, 0, 1, 0}, Drop::bad_extension_header},
      {"eight bytes of padding in a row",
       {5, 2, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 5, 0},
       Drop::bad_extension_header},
      {"router alert of the wrong length", {5, 1, 0, 1, 1, 0}, Drop::bad_extension_header},
      {"beyond the header", {0x1e, 5, 0, 0, 0, 0}, Drop::bad_extension_header},
      {"unknown, to be skipped", {0x1e, 4, 0, 0, 0, 0}, Drop::none},
      {"unknown, to be discarded", {0x5e, 4, 0, 0, 0, 0}, Drop::bad_extension_header},
      {"jumbo", {0xc2, 4, 0, 1, 0, 0}, Drop::bad_extension_header},
      {"nine options",
       {0x1e, 0,    0x1e, 0,    0x1e, 0,    0x1e, 0, 0x1e, 0, 0x1e,
        0,    0x1e, 0,    0x1e, 0,    0x1e, 0,    1, 2,    0, 0},
       Drop::bad_extension_header},
  };
  for (const Case& c : cases) {
    wire::FrameSpec spec = kIp6;
    spec.ip_options = {17, static_cast<std::uint8_t>((c.options.size() + 2) / 8 - 1)};
    spec.ip_options.insert(spec.ip_options.end(), c.options.begin(), c.options.end());
    spec.first_header = 0;
    EXPECT_EQ(drop_of(wire::build_frame(spec)), c.expected) << c.description;
  }
}

TEST_F(HeaderCheck, Ip6ExtensionHeadersBeyondTheEndLeaveNoTransport) {
  wire::FrameSpec spec = kIp6;
  spec.ip_options = {17, 200, 0, 0, 0, 0, 0, 0};
  spec.first_header = 43;
  Packet* const packet = packet_of(wire::build_frame(spec));
  ASSERT_EQ(check_headers(*packet), HeaderVerdict::ok);
  EXPECT_TRUE(packet->l4().empty());
}

TEST_F(HeaderCheck, Fragments) {
  Packet* first = packet_of(changed([](wire::Ipv4& h) { h.set_fragment_field(0x2000); }));
  ASSERT_EQ(check_headers(*first), HeaderVerdict::ok);
  EXPECT_TRUE(first->is_fragment);
  EXPECT_FALSE(first->is_later_fragment);
  Packet* later = packet_of(changed([](wire::Ipv4& h) { h.set_fragment_field(1); }));
  ASSERT_EQ(check_headers(*later), HeaderVerdict::ok);
  EXPECT_TRUE(later->is_later_fragment);
}

TEST_F(HeaderCheck, HostileFramesNeverLeaveTheBuffer) {
  EXPECT_TRUE(rc::check([this] {
    ByteVector frame = wire::build_frame(*rc::gen::arbitrary<bool>() ? kIp6 : wire::FrameSpec{});
    const auto tail =
        *rc::gen::container<ByteVector>(60, rc::gen::element<std::uint8_t>(0, 1, 43, 44, 60, 255));
    frame.insert(frame.end(), tail.begin(), tail.end());
    for (int i = 0; i < 4; ++i) {
      frame[*rc::gen::inRange<std::size_t>(12, frame.size())] = *rc::gen::arbitrary<std::uint8_t>();
    }
    frame.resize(*rc::gen::inRange<std::size_t>(0, frame.size()));
    Packet* const packet = packet_of(frame);
    if (check_headers(*packet) == HeaderVerdict::ok) {
      RC_ASSERT(packet->l3_offset + packet->ip_length <= packet->length);
      RC_ASSERT(packet->l4_offset <= packet->l3_offset + packet->ip_length);
    }
    pool.release(packet);
  }));
}

}  // namespace
}  // namespace weir::pipeline
