#include "pipeline/forward_check.h"

#include <gtest/gtest.h>

#include <cstring>

#include "packet/pool.h"
#include "pipeline/header_check.h"
#include "wire/build.h"
#include "wire/ipv4.h"

namespace weir::pipeline {
namespace {

using packet::Drop;
using packet::LinkType;
using packet::Packet;
using wire::ByteVector;

class ForwardCheck : public testing::Test {
 protected:
  packet::Pool pool{64, 0};

  Packet* checked(const wire::FrameSpec& spec) {
    const ByteVector frame = wire::build_frame(spec);
    Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
    packet->length = static_cast<std::uint32_t>(frame.size());
    std::memcpy(packet->frame(), frame.data(), frame.size());
    EXPECT_EQ(check_headers(*packet), HeaderVerdict::ok);
    return packet;
  }
  Packet* with_options(const ByteVector& options) { return checked({.ip_options = options}); }
};

TEST_F(ForwardCheck, Addresses) {
  constexpr Forwarding kYes = Forwarding::allowed;
  constexpr Forwarding kHost = Forwarding::host_only;
  constexpr Forwarding kNo = Forwarding::refused;
  struct Case {
    const char* src;
    const char* dst;
    Forwarding expected;
    Drop drop = Drop::none;
  };
  constexpr Drop kSource = Drop::not_forwardable_source;
  constexpr Drop kDestination = Drop::not_forwardable_destination;
  const Case cases[] = {
      {"192.0.2.1", "198.51.100.1", kYes},
      {"169.254.1.1", "198.51.100.1", kYes},  // The kernel forwards IPv4's link-local addresses,
      {"240.0.0.1", "250.0.0.1", kYes},       // and the reserved ones.
      {"224.0.0.1", "198.51.100.1", kNo, kSource},
      {"255.255.255.255", "198.51.100.1", kNo, kSource},
      {"0.0.0.0", "198.51.100.1", kNo, kSource},
      {"0.1.2.3", "198.51.100.1", kNo, kSource},
      {"127.0.0.1", "198.51.100.1", kNo, kSource},
      {"127.0.0.1", "224.0.0.1", kNo, kSource},
      {"192.0.2.1", "0.0.0.0", kNo, kDestination},
      {"192.0.2.1", "127.0.0.1", kNo, kDestination},
      {"192.0.2.1", "224.0.0.251", kHost, kDestination},
      {"0.0.0.0", "255.255.255.255", kHost, kDestination},
      {"0.0.0.0", "0.0.0.0", kHost, kDestination},
      {"2001:db8::1", "2001:db8::2", kYes},
      {"fd00::1", "2001:db8::2", kYes},
      {"2001:db8::1", "ff02::1", kHost, kDestination},
      {"2001:db8::1", "fe80::1", kHost, kDestination},
      {"2001:db8::1", "::", kNo, kDestination},
      {"::", "2001:db8::2", kHost, kSource},
      {"fe80::1", "2001:db8::2", kHost, kSource},
      {"febf::1", "2001:db8::2", kHost, kSource},
      {"fec0::1", "2001:db8::2", kYes},
  };
  for (const Case& c : cases) {
    Packet* const packet = checked({.src = c.src, .dst = c.dst});
    EXPECT_EQ(check_forwarding(*packet).forwarding, c.expected) << c.src << " to " << c.dst;
    EXPECT_EQ(packet->drop, c.drop) << c.src << " to " << c.dst;
    pool.release(packet);
  }
}

TEST_F(ForwardCheck, LinkLocalSourceIsToldThatItsScopeEnds) {
  EXPECT_TRUE(
      check_forwarding(*checked({.src = "fe80::1", .dst = "2001:db8::2"})).needs_scope_error);
  EXPECT_FALSE(check_forwarding(*checked({.src = "fe80::1", .dst = "fe80::2"})).needs_scope_error);
}

TEST_F(ForwardCheck, UnicastInAGroupFrameStaysHere) {
  for (const LinkType type : {LinkType::broadcast, LinkType::multicast}) {
    Packet* const packet = checked({});
    packet->link_type = type;
    EXPECT_EQ(check_forwarding(*packet).forwarding, Forwarding::host_only);
  }
}

TEST_F(ForwardCheck, Ipv4Options) {
  using Verdict = Ipv4Options::Verdict;
  struct Case {
    const char* description;
    ByteVector options;
    Verdict verdict;
    std::uint8_t pointer = 0;
  };
  const Case cases[] = {
      {"none", {}, Verdict::fine},
      {"padding", {1, 1, 1, 0}, Verdict::fine},
      {"loose source route", {131, 7, 4, 1, 2, 3, 4, 0}, Verdict::source_route},
      {"strict source route, used up", {137, 7, 8, 1, 2, 3, 4, 0}, Verdict::source_route},
      {"two source routes", {131, 3, 4, 131, 3, 4, 0, 0}, Verdict::malformed, 23},
      {"source route without a pointer", {131, 2, 0, 0}, Verdict::malformed, 21},
      {"pointer into the option's head", {7, 7, 3, 0, 0, 0, 0, 0}, Verdict::malformed, 22},
      {"pointer to half a place", {7, 7, 5, 0, 0, 0, 0, 0}, Verdict::malformed, 22},
      {"full record", {7, 7, 8, 0, 0, 0, 0, 0}, Verdict::fine},
      {"two records", {7, 3, 4, 7, 3, 4, 0, 0}, Verdict::malformed, 23},
      {"length beyond the header", {7, 9, 4, 0, 0, 0, 0, 0}, Verdict::malformed, 20},
      {"timestamps overflow", {68, 4, 5, 0xf0}, Verdict::malformed, 23},
      {"unknown", {0x9e, 4, 0, 0}, Verdict::fine},
  };
  for (const Case& c : cases) {
    const Ipv4Options found = check_ipv4_options(*with_options(c.options));
    EXPECT_EQ(found.verdict, c.verdict) << c.description;
    EXPECT_EQ(found.pointer, c.pointer) << c.description;
  }
  EXPECT_TRUE(check_ipv4_options(*with_options({148, 4, 0, 0})).has_router_alert);
}

TEST_F(ForwardCheck, RoutersRecordThemselves) {
  Packet* const packet =
      with_options({7, 11, 8, 9, 9, 9, 9, 0, 0, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0, 0});
  update_ipv4_options(*packet, check_ipv4_options(*packet), Be32::from_host(0x0a020001),
                      0x01020304);
  const ByteVector options(packet->l3().begin() + 20, packet->l3().begin() + 40);
  EXPECT_EQ(options, (ByteVector{7, 11, 12, 9, 9, 9, 9, 10, 2, 0, 1, 68, 8, 9, 0, 1, 2, 3, 4, 0}));
  EXPECT_EQ(wire::finish(wire::sum(Bytes(packet->l3()).first(40))).raw, 0);

  // Both are full now: the route stays, the timestamp counts what it missed.
  update_ipv4_options(*packet, check_ipv4_options(*packet), Be32::from_host(0x0a030001), 5);
  const ByteVector after(packet->l3().begin() + 20, packet->l3().begin() + 40);
  EXPECT_EQ(after, (ByteVector{7, 11, 12, 9, 9, 9, 9, 10, 2, 0, 1, 68, 8, 9, 0x10, 1, 2, 3, 4, 0}));
}

}  // namespace
}  // namespace weir::pipeline
