// What the kernel (6.18) answers to NFT_MSG_GETRULE for rules that nft 1.0.6 has loaded, byte for
// byte: parsed and dumped again, each must come back the same. And what its validation refuses.

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "rules/expression.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

std::vector<std::uint8_t> from_hex(std::string_view hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(
        static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::string to_hex(Bytes bytes) {
  std::string hex;
  static constexpr char kDigits[] = "0123456789abcdef";
  for (const std::uint8_t byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 0xf];
  }
  return hex;
}

struct World {
  explicit World(Family family) { table.family = family; }
  Result<std::unique_ptr<Expression>> parse(std::string_view name, Bytes data) {
    ParseContext context{.ruleset = ruleset, .transaction = transaction, .table = table};
    const ExpressionKind* const kind = find_expression_kind(name);
    if (kind == nullptr) return std::unexpected(Error{ENOENT, "no such expression", 0});
    return kind->parse(netlink::Region(data, 0), context);
  }
  Epochs epochs{1};
  Ruleset ruleset{epochs};
  Transaction transaction{1};
  Table table;
};

/// The attributes that an expression writes, without the message around them.
std::string dumped(const Expression& expression) {
  netlink::Buffer buffer;
  netlink::Writer writer(buffer);
  writer.begin({});
  const std::size_t header = writer.size();
  expression.dump(writer, DumpMode::keep);
  writer.end();
  return to_hex(Bytes(buffer).subspan(header));
}

struct Golden {
  const char* rule;
  Family family;
  const char* name;
  const char* data;
};

constexpr Golden kGolden[] = {
    {"fib saddr . iif oif missing", Family::ip, "fib",
     "080001000000000108000200000000010800030000000029"},
    {"fib daddr type local", Family::ip, "fib", "080001000000000108000200000000030800030000000002"},
    {"fib saddr . mark . iif oifname lo", Family::ip, "fib",
     "08000100000000010800020000000002080003000000000d"},
    {"fib daddr . iif type local", Family::ip, "fib",
     "08000100000000010800020000000003080003000000000a"},
    {"fib daddr oif exists", Family::ip, "fib", "080001000000000108000200000000010800030000000022"},
    {"rt nexthop 10.0.0.1", Family::ip, "rt", "08000200000000010800010000000001"},
    {"rt ip6 nexthop fd00::1", Family::inet, "rt", "08000200000000020800010000000001"},
    {"tcp option maxseg size set rt mtu", Family::ip, "rt", "08000200000000030800010000000001"},
    {"rt ipsec exists", Family::ip, "rt", "08000200000000040800010000000001"},
    {"ct state established,related", Family::ip, "ct", "08000100000000010800020000000000"},
    {"ct direction original", Family::ip, "ct", "08000100000000010800020000000001"},
    {"ct status snat", Family::ip, "ct", "08000100000000010800020000000002"},
    {"ct mark 5", Family::ip, "ct", "08000100000000010800020000000003"},
    {"ct mark set 7", Family::ip, "ct", "08000400000000010800020000000003"},
    {"ct expiration 30s", Family::ip, "ct", "08000100000000010800020000000005"},
    {"ct l3proto ipv4", Family::ip, "ct", "08000100000000010800020000000007"},
    {"ct protocol tcp", Family::ip, "ct", "0800010000000001080002000000000a"},
    {"ct original saddr 10.0.0.1", Family::ip, "ct",
     "080001000000000108000200000000080500030000000000"},
    {"ct reply ip daddr 10.0.0.1", Family::ip, "ct",
     "080001000000000108000200000000140500030001000000"},
    {"ct original ip6 saddr fd00::1", Family::inet, "ct",
     "080001000000000108000200000000150500030000000000"},
    {"ct packets > 5", Family::ip, "ct", "0800010000000001080002000000000e"},
    {"ct original bytes > 100000", Family::ip, "ct",
     "0800010000000001080002000000000f0500030000000000"},
    {"ct avgpkt > 5", Family::ip, "ct", "08000100000000010800020000000010"},
    {"ct zone 5", Family::ip, "ct", "08000100000000010800020000000011"},
    {"ct original zone 5", Family::ip, "ct", "080001000000000108000200000000110500030000000000"},
    {"ct id 5", Family::ip, "ct", "08000100000000010800020000000017"},
    {"ct zone set 5", Family::ip, "ct", "08000400000000010800020000000011"},
    {"ct original zone set 5", Family::ip, "ct",
     "080004000000000108000200000000110500030000000000"},
    {"notrack", Family::ip, "notrack", ""},
    {"reject", Family::ip, "reject", "08000100000000000500020003000000"},
    {"reject with icmp type host-unreachable", Family::ip, "reject",
     "08000100000000000500020001000000"},
    {"reject with tcp reset", Family::ip, "reject", "0800010000000001"},
    {"reject", Family::ip6, "reject", "08000100000000000500020004000000"},
    {"reject with icmpx type admin-prohibited", Family::inet, "reject",
     "08000100000000020500020003000000"},
    {"snat to 10.0.0.1", Family::ip, "nat",
     "08000100000000000800020000000002080003000000000108000400000000010800070000000001"},
    {"snat to 10.0.0.1-10.0.0.9:1024-2048 random,persistent", Family::ip, "nat",
     "080001000000000008000200000000020800030000000001080004000000000208000500000000030800060000000"
     "004"
     "080007000000000f"},
    {"dnat to 10.0.0.1:8080", Family::ip, "nat",
     "080001000000000108000200000000020800030000000001080004000000000108000500000000020800060000000"
     "002"
     "0800070000000003"},
    {"dnat to :8080", Family::ip, "nat",
     "08000100000000010800020000000002080005000000000108000600000000010800070000000002"},
    {"dnat ip prefix to ip daddr map { … }", Family::ip, "nat",
     "08000100000000010800020000000002080003000000000108000400000000090800070000000041"},
    {"dnat ip6 to fd00::1", Family::inet, "nat",
     "0800010000000001080002000000000a080003000000000108000400000000010800070000000001"},
    {"dnat to :8080", Family::inet, "nat",
     "08000100000000010800020000000001080005000000000108000600000000010800070000000002"},
    {"snat to fd00::1-fd00::9", Family::ip6, "nat",
     "0800010000000000080002000000000a080003000000000108000400000000020800070000000001"},
    {"masquerade", Family::ip, "masq", ""},
    {"masquerade random,persistent", Family::ip, "masq", "080001000000000c"},
    {"masquerade to :1024-2048 fully-random", Family::ip, "masq",
     "080001000000001208000200000000010800030000000002"},
    {"redirect", Family::ip, "redir", ""},
    {"redirect to :8080", Family::ip, "redir", "080001000000000108000200000000010800030000000002"},
    {"redirect to :8080-8090 random", Family::ip, "redir",
     "080001000000000108000200000000020800030000000006"},
    {"log", Family::ip, "log", "0800050000000004"},
    {"log prefix \"hello: \"", Family::ip, "log", "0c00020068656c6c6f3a20000800050000000004"},
    {"log prefix \"x\" level debug flags all", Family::ip, "log",
     "06000200780000000800050000000007080006000000002f"},
};

TEST(KernelBytes, ComeBackAsTheyWere) {
  for (const Golden& golden : kGolden) {
    World world(golden.family);
    const auto data = from_hex(golden.data);
    const auto parsed = world.parse(golden.name, data);
    ASSERT_TRUE(parsed) << golden.rule << ": " << parsed.error().text;
    EXPECT_EQ(dumped(**parsed), golden.data) << golden.rule;
  }
}

/// nft sends fewer attributes than the kernel shows; what is missing is filled in.
TEST(KernelBytes, FlagsThatFollowFromTheRegistersAreAdded) {
  World world(Family::ip);
  const auto sent = from_hex("080001000000000108000200000000020800030000000001");
  const auto parsed = world.parse("nat", sent);
  ASSERT_TRUE(parsed) << parsed.error().text;
  EXPECT_EQ(dumped(**parsed),
            "08000100000000010800020000000002080003000000000108000400000000010800070000000001");
}

struct Refused {
  const char* what;
  Family family;
  const char* name;
  const char* data;
  int code;
};

TEST(KernelBytes, RefusesWithTheKernelsErrors) {
  constexpr Refused kRefused[] = {
      {"fib with both addresses", Family::ip, "fib",
       "080001000000000108000200000000010800030000000003", EINVAL},
      {"fib with iif and oif", Family::ip, "fib",
       "080001000000000108000200000000030800030000000019", EINVAL},
      {"fib: oif given and asked for", Family::ip, "fib",
       "080001000000000108000200000000010800030000000011", EINVAL},
      {"fib with an unknown result", Family::ip, "fib",
       "080001000000000108000200000000090800030000000001", EOPNOTSUPP},
      {"fib in a bridge table", Family::bridge, "fib",
       "080001000000000108000200000000030800030000000002", EOPNOTSUPP},
      {"rt classid", Family::ip, "rt", "08000200000000000800010000000001", EOPNOTSUPP},
      {"ct saddr without direction", Family::ip, "ct", "08000100000000010800020000000008", EINVAL},
      {"ct state with direction", Family::ip, "ct",
       "080001000000000108000200000000000500030000000000", EINVAL},
      {"ct with a third direction", Family::ip, "ct",
       "080001000000000108000200000000080500030002000000", EINVAL},
      {"ct with two registers", Family::ip, "ct",
       "080001000000000108000400000000010800020000000003", EINVAL},
      {"ct label", Family::ip, "ct", "0800010000000001080002000000000d", EOPNOTSUPP},
      {"ct event set", Family::ip, "ct", "08000400000000010800020000000012", EOPNOTSUPP},
      {"reject of an unknown kind", Family::ip, "reject", "0800010000000003", EINVAL},
      {"reject without code", Family::ip, "reject", "0800010000000000", EINVAL},
      {"reject with icmpx code 4", Family::inet, "reject", "08000100000000020500020004000000",
       EINVAL},
      {"nat of another family", Family::ip, "nat",
       "0800010000000001080002000000000a0800030000000001", EOPNOTSUPP},
      {"nat to addresses of no family", Family::inet, "nat",
       "080001000000000108000200000000010800030000000001", EAFNOSUPPORT},
      {"nat to nothing", Family::ip, "nat", "08000100000000010800020000000002", EINVAL},
      {"nat with unknown flags", Family::ip, "nat",
       "0800010000000001080002000000000208000300000000010800070000000081", EOPNOTSUPP},
      {"masq with unknown flags", Family::ip, "masq", "0800010000000080", EINVAL},
      {"log with group and level", Family::ip, "log",
       "060001000005000008000500000000"
       "04",
       EINVAL},
      {"log to a group", Family::ip, "log", "0600010000050000", EOPNOTSUPP},
      {"log of level 9", Family::ip, "log", "0800050000000009", EINVAL},
      {"log with unknown flags", Family::ip, "log", "08000500000000040800060000000040", EINVAL},
  };
  for (const Refused& refused : kRefused) {
    World world(refused.family);
    const auto data = from_hex(refused.data);
    const auto parsed = world.parse(refused.name, data);
    ASSERT_FALSE(parsed) << refused.what;
    EXPECT_EQ(parsed.error().code, refused.code) << refused.what << ": " << parsed.error().text;
  }
}

class Standing final : public Validation {
 public:
  Standing(ChainType chain_type, Hook hook, Family table_family) {
    type = chain_type;
    hooks = hook_bit(hook);
    family = table_family;
  }
  Result<void> enter(const Chain&) override { return {}; }
};

TEST(KernelBytes, StandOnlyInChainsWhereTheyWork) {
  struct Place {
    const char* name;
    const char* data;
    ChainType type;
    Hook hook;
    bool is_allowed;
  };
  const char* const snat = "0800010000000000080002000000000208000300000000010800070000000001";
  const char* const dnat = "0800010000000001080002000000000208000300000000010800070000000001";
  const char* const fib_oif = "080001000000000108000200000000010800030000000022";
  const char* const fib_iif_oif = "080001000000000108000200000000010800030000000009";
  const char* const mss = "08000200000000030800010000000001";
  const char* const next_hop = "08000200000000010800010000000001";
  const char* const reset = "0800010000000001";
  const Place places[] = {
      {"nat", snat, ChainType::nat, Hook::postrouting, true},
      {"nat", snat, ChainType::nat, Hook::input, true},
      {"nat", snat, ChainType::nat, Hook::prerouting, false},
      {"nat", snat, ChainType::filter, Hook::postrouting, false},
      {"nat", dnat, ChainType::nat, Hook::prerouting, true},
      {"nat", dnat, ChainType::nat, Hook::output, true},
      {"nat", dnat, ChainType::nat, Hook::input, false},
      {"masq", "", ChainType::nat, Hook::postrouting, true},
      {"masq", "", ChainType::nat, Hook::prerouting, false},
      {"masq", "", ChainType::filter, Hook::postrouting, false},
      {"redir", "", ChainType::nat, Hook::prerouting, true},
      {"redir", "", ChainType::nat, Hook::postrouting, false},
      {"reject", reset, ChainType::filter, Hook::prerouting, true},
      {"reject", reset, ChainType::filter, Hook::forward, true},
      {"reject", reset, ChainType::filter, Hook::postrouting, false},
      {"fib", fib_oif, ChainType::filter, Hook::prerouting, true},
      {"fib", fib_oif, ChainType::filter, Hook::postrouting, false},
      {"fib", fib_oif, ChainType::filter, Hook::forward, false},
      {"fib", fib_iif_oif, ChainType::filter, Hook::forward, true},
      {"rt", mss, ChainType::filter, Hook::forward, true},
      {"rt", mss, ChainType::filter, Hook::prerouting, false},
      {"rt", next_hop, ChainType::filter, Hook::prerouting, true},
  };
  for (const Place& place : places) {
    World world(Family::ip);
    const auto data = from_hex(place.data);
    const auto parsed = world.parse(place.name, data);
    ASSERT_TRUE(parsed) << place.name;
    Standing standing(place.type, place.hook, Family::ip);
    const auto validated = (*parsed)->validate(standing);
    EXPECT_EQ(validated.has_value(), place.is_allowed)
        << place.name << ' ' << place.data << " at " << name_of(place.hook);
    if (!validated) {
      EXPECT_EQ(validated.error().code, EOPNOTSUPP) << place.name;
    }
  }
}

}  // namespace
}  // namespace weir::rules
