#include "wire/checksum.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

#include "wire/build.h"

namespace rc {
template <>
struct Arbitrary<weir::wire::Address> {
  static Gen<weir::wire::Address> arbitrary() {
    return gen::map(
        gen::container<std::vector<std::uint8_t>>(16, gen::arbitrary<std::uint8_t>()),
        [](const std::vector<std::uint8_t>& bytes) { return weir::wire::Address::from(bytes); });
  }
};
}  // namespace rc

namespace weir::wire {
namespace {

/// RFC 1071 section 4.1, word by word.
Be16 slow_checksum(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t total = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    total += bytes[i] * 256U + (i + 1 < bytes.size() ? bytes[i + 1] : 0U);
  }
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return Be16::from_host(static_cast<std::uint16_t>(~total));
}

/// Zero has two representations in ones-complement.
bool same(Be16 a, Be16 b) {
  return a == b || ((a.raw == 0 || a.raw == 0xffff) && (b.raw == 0 || b.raw == 0xffff));
}

TEST(Checksum, ExampleOfRfc1071) {
  const std::vector<std::uint8_t> bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(fold(sum(bytes)).host(), 0xddf2);
}

TEST(Checksum, AnyLengthAndAlignmentEqualsTheDefinition) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& bytes) {
    RC_ASSERT(finish(sum(bytes)) == slow_checksum(bytes));
  }));
}

TEST(Checksum, EveryLengthOnBothSidesOfWhereVectorsBegin) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t length = 0; length < 3 * kLongBytes; ++length) {
    EXPECT_EQ(finish(sum(bytes)), slow_checksum(bytes)) << length;
    bytes.push_back(static_cast<std::uint8_t>(255 - length * 37));
  }
}

TEST(Checksum, LargestInputLosesNoCarry) {
  const std::vector<std::uint8_t> bytes(65535, 0xff);
  EXPECT_EQ(finish(sum(bytes)), slow_checksum(bytes));
}

TEST(Checksum, IncrementalEqualsFromScratch) {
  EXPECT_TRUE(rc::check([](std::vector<std::uint8_t> bytes, Address to, std::uint16_t port) {
    bytes.resize(40 + bytes.size());
    bytes[39] |= 1;  // Not all zero.
    const Be16 before = finish(sum(bytes));

    ChecksumDelta delta;
    delta.replace(load<Address>(&bytes[8]), to);
    store(&bytes[8], to.bytes);
    delta.replace(load<Be16>(&bytes[24]), Be16{port});
    store(&bytes[24], port);
    delta.replace(load<Be32>(&bytes[28]), Be32{port * 77U});
    store(&bytes[28], port * 77U);

    RC_ASSERT(same(delta.apply(before), finish(sum(bytes))));
  }));
}

TEST(Checksum, PartialFollowsTheAddressesAndFinishesRight) {
  EXPECT_TRUE(
      rc::check([](std::vector<std::uint8_t> l4, Address src, Address dst, Address new_src) {
        l4.resize(l4.size() + 20);
        const auto length = static_cast<std::uint32_t>(l4.size());
        const Be16 field = fold(pseudo_header(Family::ip6, src, dst, 6, length));
        ChecksumDelta delta;
        delta.replace(src, new_src);

        store(&l4[16], delta.apply_partial(field));
        const Be16 finished = finish(sum(l4));

        store(&l4[16], Be16{0});
        const Be16 fresh = finish(sum(l4) + pseudo_header(Family::ip6, new_src, dst, 6, length));
        RC_ASSERT(same(finished, fresh));
      }));
}

TEST(Checksum, PseudoHeaderOfAHeaderEqualsThatOfItsFields) {
  const ByteVector frame =
      build_frame({.src = "2001:db8::1", .dst = "2001:db8::2", .payload = pattern(9)});
  const auto src = parse_address("2001:db8::1")->address;
  const auto dst = parse_address("2001:db8::2")->address;
  EXPECT_EQ(fold(pseudo_header(Family::ip6, &frame[14], 17, 17)),
            fold(pseudo_header(Family::ip6, src, dst, 17, 17)));
  // The builder's checksum is right: everything sums up to zero.
  const Sum total = sum(Bytes(frame).subspan(54)) + pseudo_header(Family::ip6, &frame[14], 17, 17);
  EXPECT_EQ(finish(total).raw, 0);
}

TEST(Checksum, UdpNeverSendsZero) {
  EXPECT_EQ(udp_nonzero(Be16{0}).raw, 0xffff);
  EXPECT_EQ(udp_nonzero(Be16{1}).raw, 1);
}

}  // namespace
}  // namespace weir::wire
