#include "rules/data.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <string>

#include "netlink/attributes.h"
#include "rules/expression.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kData[] = {
    {.type = NFTA_DATA_VALUE, .kind = netlink::Kind::binary},
    {.type = NFTA_DATA_VERDICT, .kind = netlink::Kind::nested},
};
constexpr netlink::Rule kVerdict[] = {
    {.type = NFTA_VERDICT_CODE, .kind = netlink::Kind::u32},
    {.type = NFTA_VERDICT_CHAIN,
     .kind = netlink::Kind::string,
     .max_bytes = NFT_CHAIN_MAXNAMELEN - 1},
    {.type = NFTA_VERDICT_CHAIN_ID, .kind = netlink::Kind::u32},
};

constexpr std::uint32_t kVerdictMask = 0xff;
constexpr std::uint32_t kQueueBypass = 0x8000;  // NF_VERDICT_FLAG_QUEUE_BYPASS.
constexpr unsigned kQueueNumberShift = 16;      // NF_VERDICT_QBITS.

Result<Chain*> find_target(const netlink::Attributes& verdict, ParseContext& context) {
  Chain* chain = nullptr;
  if (verdict.has(NFTA_VERDICT_CHAIN)) {
    chain = context.table.chains.find(verdict.string(NFTA_VERDICT_CHAIN));
    if (!chain) {
      return std::unexpected(verdict.error(NFTA_VERDICT_CHAIN, ENOENT, "no chain has this name"));
    }
  } else if (verdict.has(NFTA_VERDICT_CHAIN_ID)) {
    chain =
        context.transaction.find_chain(context.table, verdict.be32(NFTA_VERDICT_CHAIN_ID).host());
    if (!chain) {
      return std::unexpected(verdict.error(NFTA_VERDICT_CHAIN_ID, ENOENT, "no chain has this id"));
    }
  } else {
    return std::unexpected(verdict.missing(NFTA_VERDICT_CHAIN));
  }
  if (chain->base) {
    return std::unexpected(Error{EOPNOTSUPP, "a base chain can't be jumped to"});
  }
  if (chain->is_bound) return std::unexpected(Error{EINVAL, "the chain is bound to another rule"});
  return chain;
}

Result<Data> parse_verdict(const netlink::Attribute& nest, ParseContext& context) {
  const auto verdict = netlink::Attributes::parse(nest.nested(), kVerdict);
  if (!verdict) return std::unexpected(verdict.error());
  if (!verdict->has(NFTA_VERDICT_CODE)) return std::unexpected(verdict->missing(NFTA_VERDICT_CODE));

  const std::uint32_t code = verdict->be32(NFTA_VERDICT_CODE).host();
  Data data;
  data.is_verdict = true;
  data.verdict.code = static_cast<VerdictCode>(static_cast<std::int32_t>(code));
  switch (data.verdict.code) {
    case VerdictCode::next:
    case VerdictCode::fail:
    case VerdictCode::leave:
      return data;
    case VerdictCode::jump:
    case VerdictCode::go_to: {
      const auto chain = find_target(*verdict, context);
      if (!chain) return std::unexpected(chain.error());
      data.chain = context.table.chains.share(**chain);
      data.verdict.chain = (*chain)->slot;
      return data;
    }
    default:
      break;
  }
  const auto action = static_cast<VerdictCode>(code & kVerdictMask);
  if (action == VerdictCode::queue) {
    data.verdict.code = action;
    data.verdict.queue_number = static_cast<std::uint16_t>(code >> kQueueNumberShift);
    data.verdict.queue_bypass = code & kQueueBypass;
    return data;
  }
  if (code != static_cast<std::uint32_t>(VerdictCode::drop) &&
      code != static_cast<std::uint32_t>(VerdictCode::accept)) {
    return std::unexpected(verdict->error(NFTA_VERDICT_CODE, EINVAL, "unknown verdict"));
  }
  return data;
}

std::uint32_t wire_code(const Verdict& verdict) {
  auto code = static_cast<std::uint32_t>(static_cast<std::int32_t>(verdict.code));
  if (verdict.code == VerdictCode::queue) {
    code |= std::uint32_t{verdict.queue_number} << kQueueNumberShift;
    if (verdict.queue_bypass) code |= kQueueBypass;
  }
  return code;
}

/// A register of netlink as an index of words; 16-byte registers are the older numbering.
std::uint32_t word_index(std::uint32_t netlink_register) {
  constexpr std::uint32_t kWordsOfOld = NFT_REG_SIZE / NFT_REG32_SIZE;
  if (netlink_register <= NFT_REG_4) return netlink_register * kWordsOfOld;
  return netlink_register + kWordsOfOld - NFT_REG32_00;
}

Result<RegisterIndex> parse_register(const netlink::Attribute& attribute) {
  const std::uint32_t number = attribute.be32().host();
  const bool is_known = number <= NFT_REG_4 || (number >= NFT_REG32_00 && number <= NFT_REG32_15);
  if (!attribute || !is_known) return std::unexpected(attribute.error(ERANGE, "no such register"));
  return static_cast<RegisterIndex>(word_index(number));
}

Result<RegisterIndex> parse_data_register(const netlink::Attribute& attribute, std::size_t length) {
  const auto index = parse_register(attribute);
  if (!index) return index;
  if (*index < kFirstDataRegister) {
    return std::unexpected(attribute.error(EINVAL, "the verdict register holds no data"));
  }
  if (length == 0) return std::unexpected(attribute.error(EINVAL, "a value without length"));
  if (*index * 4u + length > kRegisterWords * 4) {
    return std::unexpected(attribute.error(ERANGE, "the value runs past the last register"));
  }
  return index;
}

}  // namespace

void Data::hold() const {
  if (chain) ++chain->use;
}

void Data::release() const {
  if (chain) --chain->use;
}

Result<Data> parse_data(const netlink::Attribute& attribute, ParseContext& context,
                        std::size_t max_bytes) {
  const auto parsed = netlink::Attributes::parse(attribute.nested(), kData);
  if (!parsed) return std::unexpected(parsed.error());
  if (parsed->has(NFTA_DATA_VALUE)) {
    const Bytes value = parsed->raw(NFTA_DATA_VALUE);
    if (value.empty()) return std::unexpected(attribute.error(EINVAL, "an empty value"));
    if (value.size() > max_bytes || value.size() > kDataBytesMax) {
      return std::unexpected(attribute.error(EOVERFLOW, "the value is too long"));
    }
    Data data;
    data.length = static_cast<std::uint8_t>(value.size());
    std::memcpy(data.value.data(), value.data(), value.size());
    return data;
  }
  if (parsed->has(NFTA_DATA_VERDICT))
    return parse_verdict(parsed->find(NFTA_DATA_VERDICT), context);
  return std::unexpected(attribute.error(EINVAL, "neither a value nor a verdict"));
}

void write_value(netlink::Writer& writer, std::uint16_t type, Bytes value) {
  const auto nest = writer.nest_plain(type);
  writer.put(NFTA_DATA_VALUE, value);
}

void write_data(netlink::Writer& writer, std::uint16_t type, const Data& data) {
  if (!data.is_verdict) return write_value(writer, type, data.bytes());
  const auto nest = writer.nest_plain(type);
  const auto verdict = writer.nest_plain(NFTA_DATA_VERDICT);
  writer.put_be32(NFTA_VERDICT_CODE, wire_code(data.verdict));
  if (data.chain) writer.put_string(NFTA_VERDICT_CHAIN, data.chain->name);
}

Result<RegisterIndex> parse_source(const netlink::Attribute& attribute, std::size_t length_bytes) {
  return parse_data_register(attribute, length_bytes);
}

Result<RegisterIndex> parse_destination(const netlink::Attribute& attribute,
                                        std::size_t length_bytes) {
  return parse_data_register(attribute, length_bytes);
}

bool is_verdict_register(const netlink::Attribute& attribute) {
  return attribute.be32().host() == NFT_REG_VERDICT;
}

void write_register(netlink::Writer& writer, std::uint16_t type, RegisterIndex at) {
  constexpr std::uint32_t kWordsOfOld = NFT_REG_SIZE / NFT_REG32_SIZE;
  const std::uint32_t number =
      at % kWordsOfOld == 0 ? at / kWordsOfOld : at - kWordsOfOld + NFT_REG32_00;
  writer.put_be32(type, number);
}

}  // namespace weir::rules
