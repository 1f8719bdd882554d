#include "wire/crc32c.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string_view>
#include <vector>

namespace weir::wire {
namespace {

std::uint32_t whole(Bytes bytes) { return ~crc32c(0xffffffff, bytes); }

/// RFC 3720 appendix B.4, and the check value of the usual catalogues.
TEST(Crc32c, KnownAnswers) {
  std::array<std::uint8_t, 32> bytes{};
  EXPECT_EQ(whole(bytes), 0x8a9136aau);
  bytes.fill(0xff);
  EXPECT_EQ(whole(bytes), 0x62a8ab43u);
  for (std::uint8_t i = 0; i < 32; ++i) bytes[i] = i;
  EXPECT_EQ(whole(bytes), 0x46dd794eu);
  constexpr std::string_view kCheck = "123456789";
  EXPECT_EQ(whole(Bytes(reinterpret_cast<const std::uint8_t*>(kCheck.data()), kCheck.size())),
            0xe3069283u);
}

TEST(Crc32c, ContinuesAnywhere) {
  std::vector<std::uint8_t> bytes(100);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
  const std::uint32_t all = crc32c(0xffffffff, bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const std::uint32_t first = crc32c(0xffffffff, Bytes(bytes).first(cut));
    EXPECT_EQ(crc32c(first, Bytes(bytes).subspan(cut)), all) << cut;
  }
}

TEST(Crc32c, OfAnSctpPacketTakesItsOwnFieldAsZero) {
  const std::array<std::uint8_t, 12 + 4> packet = {0x80, 0x44, 0x00, 0x50, 0, 0, 0, 1,
                                                   0xde, 0xad, 0xbe, 0xef, 8, 0, 0, 4};
  std::array<std::uint8_t, 16> zeroed = packet;
  std::memset(&zeroed[8], 0, 4);
  const std::uint32_t expected = whole(zeroed);
  const Be32 sum = sctp_checksum(packet);
  EXPECT_EQ(sum, sctp_checksum(zeroed));
  EXPECT_EQ(sum.raw, expected);  // Lowest byte first, whatever the machine's order: little here.
}

}  // namespace
}  // namespace weir::wire
