#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"
#include "rules/registers.h"
#include "rules/verdict.h"

namespace weir::rules {

class Chain;
struct ParseContext;

/// Longest value that netlink may carry in NFTA_DATA_VALUE (NFT_DATA_VALUE_MAXLEN).
inline constexpr std::size_t kDataBytesMax = 64;

/// A constant of a rule or a set element: a value of up to 64 bytes, or a verdict (`chain` is set
/// for jump and goto). Whoever stores one calls hold() when it becomes part of the ruleset and
/// release() when it is taken out, so that the chain's use count is right.
struct Data {
  bool is_verdict = false;
  std::uint8_t length = 0;  // Bytes of the value.
  std::array<std::uint8_t, kDataBytesMax> value{};
  Verdict verdict;
  std::shared_ptr<Chain> chain;

  Bytes bytes() const { return {value.data(), length}; }
  void hold() const;
  void release() const;
};

/// Reads a nested attribute (NFTA_IMMEDIATE_DATA, NFTA_SET_ELEM_KEY…) that holds NFTA_DATA_VALUE or
/// NFTA_DATA_VERDICT, as nft_data_init. Errors: EINVAL (neither or both, an empty value, an unknown
/// verdict, a base chain as the target), ERANGE for a longer value than `max_bytes`, ENOENT for a
/// chain that isn't there.
Result<Data> parse_data(const netlink::Attribute& attribute, ParseContext& context,
                        std::size_t max_bytes = kDataBytesMax);

/// Writes it back as `type`, as nft_data_dump.
void write_data(netlink::Writer& writer, std::uint16_t type, const Data& data);
/// The same for plain bytes.
void write_value(netlink::Writer& writer, std::uint16_t type, Bytes value);

/// Reads NFTA_*_SREG: a data register that `length_bytes` can be read from
/// (nft_parse_register_load). Errors: EINVAL for the verdict register or an unknown one or no
/// bytes, ERANGE past the last register.
Result<RegisterIndex> parse_source(const netlink::Attribute& attribute, std::size_t length_bytes);
/// Reads NFTA_*_DREG as a place for `length_bytes` of data (nft_parse_register_store).
Result<RegisterIndex> parse_destination(const netlink::Attribute& attribute,
                                        std::size_t length_bytes);
/// Whether the attribute names NFT_REG_VERDICT.
bool is_verdict_register(const netlink::Attribute& attribute);
/// Writes a data register as the kernel does: as NFT_REG_n where it is one of those, else
/// NFT_REG32_n.
void write_register(netlink::Writer& writer, std::uint16_t type, RegisterIndex at);

}  // namespace weir::rules
