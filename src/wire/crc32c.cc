#include "wire/crc32c.h"

#include <array>
#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

#include "wire/udp.h"

namespace weir::wire {
namespace {

constexpr std::array<std::uint8_t, 4> kZero{};

#if defined(__SSE4_2__)

std::uint64_t add_eight(std::uint64_t crc, std::uint64_t bytes) {
  return _mm_crc32_u64(crc, bytes);
}
std::uint32_t add_one(std::uint32_t crc, std::uint8_t byte) { return _mm_crc32_u8(crc, byte); }

#else

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // Castagnoli's, lowest bit first.

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

std::uint32_t add_one(std::uint32_t crc, std::uint8_t byte) {
  return (crc >> 8) ^ kTable[(crc ^ byte) & 0xff];
}
std::uint64_t add_eight(std::uint64_t crc, std::uint64_t bytes) {
  auto narrow = static_cast<std::uint32_t>(crc);
  for (int i = 0; i < 8; ++i, bytes >>= 8) {
    narrow = add_one(narrow, static_cast<std::uint8_t>(bytes));
  }
  return narrow;
}

#endif

}  // namespace

std::uint32_t crc32c(std::uint32_t crc, Bytes bytes) {
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t wide = crc;
  for (; left >= 8; at += 8, left -= 8) wide = add_eight(wide, load<std::uint64_t>(at));
  crc = static_cast<std::uint32_t>(wide);
  for (; left != 0; ++at, --left) crc = add_one(crc, *at);
  return crc;
}

Be32 sctp_checksum(Bytes l4) {
  std::uint32_t crc = 0xffffffff;
  crc = crc32c(crc, l4.first(Sctp::kChecksumOffset));
  crc = crc32c(crc, kZero);
  crc = crc32c(crc, l4.subspan(sizeof(Sctp)));
  // The CRC is sent lowest byte first.
  return Be32::from_host(__builtin_bswap32(~crc));
}

}  // namespace weir::wire
