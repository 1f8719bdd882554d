#include "rules/expr/hash.h"

#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/random.h"
#include "rules/data.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_HASH_SREG, .kind = netlink::Kind::u32},
    {.type = NFTA_HASH_DREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_HASH_LEN, .kind = netlink::Kind::u32, .max_value = kDataBytesMax},
    {.type = NFTA_HASH_MODULUS, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_HASH_SEED, .kind = netlink::Kind::u32},
    {.type = NFTA_HASH_OFFSET, .kind = netlink::Kind::u32},
    {.type = NFTA_HASH_TYPE, .kind = netlink::Kind::u32},
};

struct Operands {
  bool is_symmetric = false;
  bool has_seed = false;
  RegisterIndex source = 0;
  RegisterIndex destination = 0;
  std::uint32_t length = 0;
  std::uint32_t modulus = 1;
  std::uint32_t seed = 0;
  std::uint32_t offset = 0;
};

/// lookup3 (Bob Jenkins, 2006, public domain), with the seed added to the start values.
std::uint32_t jenkins(Bytes key, std::uint32_t seed) {
  std::uint32_t a = 0xdeadbeef + static_cast<std::uint32_t>(key.size()) + seed;
  std::uint32_t b = a;
  std::uint32_t c = a;
  while (key.size() > 12) {
    a += load<std::uint32_t>(&key[0]);
    b += load<std::uint32_t>(&key[4]);
    c += load<std::uint32_t>(&key[8]);
    a = (a - c) ^ std::rotl(c, 4), c += b;
    b = (b - a) ^ std::rotl(a, 6), a += c;
    c = (c - b) ^ std::rotl(b, 8), b += a;
    a = (a - c) ^ std::rotl(c, 16), c += b;
    b = (b - a) ^ std::rotl(a, 19), a += c;
    c = (c - b) ^ std::rotl(b, 4), b += a;
    key = key.subspan(12);
  }
  std::uint8_t rest[12] = {};
  std::memcpy(rest, key.data(), key.size());
  a += load<std::uint32_t>(&rest[0]);
  b += load<std::uint32_t>(&rest[4]);
  c += load<std::uint32_t>(&rest[8]);
  c = (c ^ b) - std::rotl(b, 14);
  a = (a ^ c) - std::rotl(c, 11);
  b = (b ^ a) - std::rotl(a, 25);
  c = (c ^ b) - std::rotl(b, 16);
  a = (a ^ c) - std::rotl(c, 4);
  b = (b ^ a) - std::rotl(a, 14);
  c = (c ^ b) - std::rotl(b, 24);
  return c;
}

/// A hash of addresses, ports and protocol that is the same when source and destination change
/// places.
std::uint32_t symmetric(const packet::Packet& packet, std::uint32_t seed) {
  struct End {
    wire::Address address;
    std::uint16_t port = 0;
    std::uint16_t padding = 0;
    auto operator<=>(const End&) const = default;
  };
  struct {
    End low, high;
    std::uint32_t protocol = 0;
  } flow;
  if (packet.family == wire::Family::none) return jenkins({}, seed);
  const std::size_t bytes = wire::address_bytes(packet.family);
  const Bytes header = packet.l3();
  const std::size_t source_at = packet.family == wire::Family::ip ? 12 : 8;
  flow.low.address = wire::Address::from(header.subspan(source_at, bytes));
  flow.high.address = wire::Address::from(header.subspan(source_at + bytes, bytes));
  flow.protocol = packet.l4_protocol;
  const bool has_ports = packet.l4_protocol == IPPROTO_TCP || packet.l4_protocol == IPPROTO_UDP ||
                         packet.l4_protocol == IPPROTO_UDPLITE ||
                         packet.l4_protocol == IPPROTO_SCTP || packet.l4_protocol == IPPROTO_DCCP;
  if (has_ports && !packet.is_fragment && packet.l4().size() >= 4) {
    flow.low.port = load<std::uint16_t>(&packet.l4()[0]);
    flow.high.port = load<std::uint16_t>(&packet.l4()[2]);
  }
  if (flow.high < flow.low) std::swap(flow.low, flow.high);
  return jenkins(as_bytes(flow), seed);
}

class Hash final : public Expression {
 public:
  explicit Hash(const Operands& operands) : operands_(operands) {}

  const ExpressionKind& kind() const override { return kHash; }

  void eval(Registers& registers, Context& context) const override {
    const std::uint32_t hash =
        operands_.is_symmetric
            ? symmetric(*context.packet, operands_.seed)
            : jenkins(registers.view(operands_.source, operands_.length), operands_.seed);
    const auto scaled = static_cast<std::uint32_t>(std::uint64_t{hash} * operands_.modulus >> 32);
    registers.set_u32(operands_.destination, scaled + operands_.offset);
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    if (!operands_.is_symmetric) write_register(writer, NFTA_HASH_SREG, operands_.source);
    write_register(writer, NFTA_HASH_DREG, operands_.destination);
    if (!operands_.is_symmetric) writer.put_be32(NFTA_HASH_LEN, operands_.length);
    writer.put_be32(NFTA_HASH_MODULUS, operands_.modulus);
    if (operands_.has_seed) writer.put_be32(NFTA_HASH_SEED, operands_.seed);
    if (operands_.offset != 0) writer.put_be32(NFTA_HASH_OFFSET, operands_.offset);
    writer.put_be32(NFTA_HASH_TYPE, static_cast<std::uint32_t>(
                                        operands_.is_symmetric ? NFT_HASH_SYM : NFT_HASH_JENKINS));
  }

 private:
  Operands operands_;
};

Result<void> parse_key(const netlink::Attributes& attributes, Operands& operands) {
  for (const std::uint16_t needed : {NFTA_HASH_SREG, NFTA_HASH_LEN}) {
    if (!attributes.has(needed)) return std::unexpected(attributes.missing(needed));
  }
  operands.length = attributes.be32(NFTA_HASH_LEN).host();
  if (operands.length == 0) {
    return std::unexpected(attributes.error(NFTA_HASH_LEN, ERANGE, "a length of zero"));
  }
  const auto source = parse_source(attributes.find(NFTA_HASH_SREG), operands.length);
  if (!source) return std::unexpected(source.error());
  operands.source = *source;
  operands.has_seed = attributes.has(NFTA_HASH_SEED);
  operands.seed = operands.has_seed ? attributes.be32(NFTA_HASH_SEED).host()
                                    : static_cast<std::uint32_t>(random_key().low);
  return {};
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  Operands operands;
  const std::uint32_t type = attributes->be32(NFTA_HASH_TYPE).host();  // Absent: NFT_HASH_JENKINS.
  if (type > NFT_HASH_SYM) {
    return std::unexpected(attributes->error(NFTA_HASH_TYPE, EOPNOTSUPP, "unknown hash"));
  }
  operands.is_symmetric = type == NFT_HASH_SYM;
  if (!operands.is_symmetric) {
    if (auto key = parse_key(*attributes, operands); !key) return std::unexpected(key.error());
  }
  operands.modulus = attributes->be32(NFTA_HASH_MODULUS).host();
  operands.offset = attributes->be32(NFTA_HASH_OFFSET).host();
  if (operands.modulus == 0) {
    return std::unexpected(attributes->error(NFTA_HASH_MODULUS, ERANGE, "a modulus of zero"));
  }
  if (operands.offset + operands.modulus - 1 < operands.offset) {
    return std::unexpected(
        attributes->error(NFTA_HASH_OFFSET, EOVERFLOW, "offset and modulus exceed 32 bits"));
  }
  const auto destination =
      parse_destination(attributes->find(NFTA_HASH_DREG), sizeof(std::uint32_t));
  if (!destination) return std::unexpected(destination.error());
  operands.destination = *destination;
  return std::make_unique<Hash>(operands);
}

}  // namespace

const ExpressionKind kHash = {.name = "hash", .parse = parse};

}  // namespace weir::rules
