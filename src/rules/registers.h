#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/endian.h"
#include "rules/verdict.h"

namespace weir::rules {

/// One operand place of an expression: an index of 32-bit words, 0..19, as the kernel's struct
/// nft_regs lays them out: words 0..3 are the verdict register's, 4..19 the sixteen data registers
/// (NFT_REG_1 starts at 4, NFT_REG32_00 is 4). Only data registers get into a RegisterIndex of a
/// parsed expression; see registers_netlink.h for reading NFTA_*_SREG and _DREG.
using RegisterIndex = std::uint8_t;

inline constexpr std::size_t kRegisterWords = 20;
inline constexpr RegisterIndex kFirstDataRegister = 4;
inline constexpr std::size_t kRegisterDataBytes = 64;

/// The registers that the expressions of a chain pass values through, and their verdict. Values lie
/// in memory as on the wire (payload) or in host order (meta, ct), as the kernel keeps them. A
/// value that is shorter than its last word leaves zeroes behind it.
struct Registers {
  Verdict verdict;
  alignas(16) std::array<std::uint32_t, kRegisterWords> words{};

  std::uint8_t* bytes(RegisterIndex at) { return reinterpret_cast<std::uint8_t*>(&words[at]); }
  const std::uint8_t* bytes(RegisterIndex at) const {
    return reinterpret_cast<const std::uint8_t*>(&words[at]);
  }
  Bytes view(RegisterIndex at, std::size_t length) const { return {bytes(at), length}; }

  std::uint32_t u32(RegisterIndex at) const { return words[at]; }
  void set_u32(RegisterIndex at, std::uint32_t value) { words[at] = value; }
  std::uint16_t u16(RegisterIndex at) const { return load<std::uint16_t>(bytes(at)); }
  /// The rest of the word becomes zero, as for nft_reg_store16.
  void set_u16(RegisterIndex at, std::uint16_t value) {
    words[at] = 0;
    store(bytes(at), value);
  }
  std::uint8_t u8(RegisterIndex at) const { return *bytes(at); }
  void set_u8(RegisterIndex at, std::uint8_t value) {
    words[at] = 0;
    *bytes(at) = value;
  }
  std::uint64_t u64(RegisterIndex at) const { return load<std::uint64_t>(bytes(at)); }
  void set_u64(RegisterIndex at, std::uint64_t value) { store(bytes(at), value); }
  /// Copies `value`, at most to the last word, and clears what is left of its last word.
  void set(RegisterIndex at, Bytes value) {
    if (value.empty()) return;
    words[at + (value.size() - 1) / 4] = 0;
    std::memcpy(bytes(at), value.data(), value.size());
  }

  void fail() { verdict.code = VerdictCode::fail; }
};

}  // namespace weir::rules
