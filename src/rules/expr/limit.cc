#include "rules/expr/limit.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <mutex>

namespace weir::rules {
namespace {

constexpr std::uint32_t kDefaultPacketBurst = 5;  // NFT_LIMIT_PKT_BURST_DEFAULT.
constexpr std::uint64_t kSecond = 1'000'000'000;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_LIMIT_RATE, .kind = netlink::Kind::u64, .required = true},
    {.type = NFTA_LIMIT_UNIT, .kind = netlink::Kind::u64, .required = true},
    {.type = NFTA_LIMIT_BURST, .kind = netlink::Kind::u32},
    {.type = NFTA_LIMIT_TYPE, .kind = netlink::Kind::u32},
    {.type = NFTA_LIMIT_FLAGS, .kind = netlink::Kind::u32, .mask = NFT_LIMIT_F_INV},
};

class Limit final : public StatefulExpression {
 public:
  explicit Limit(const State& state) : initial_(state), state_(state) {}

  const ExpressionKind& kind() const override { return kLimit; }
  void eval(Registers& registers, Context& context) const override {
    if (!pass_limit(state_, context)) registers.fail();
  }
  void dump(netlink::Writer& writer, DumpMode) const override { write_limit(writer, initial_); }
  std::unique_ptr<Expression> clone() const override { return std::make_unique<Limit>(initial_); }
  State state() const override { return initial_; }

 private:
  const State initial_;
  mutable State state_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region data, ParseContext&) {
  const auto state = parse_limit(data);
  if (!state) return std::unexpected(state.error());
  return std::make_unique<Limit>(*state);
}

Error overflow(const netlink::Attributes& attributes) {
  return attributes.error(NFTA_LIMIT_RATE, EOVERFLOW, "the rate is too high");
}

}  // namespace

const ExpressionKind kLimit = {.name = "limit", .parse = parse, .is_stateful = true};

Result<State> parse_limit(netlink::Region data) {
  const auto attributes = netlink::Attributes::parse(data, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  State state;
  state.kind = State::Kind::limit;
  state.rate = attributes->be64(NFTA_LIMIT_RATE).host();
  if (state.rate == 0) {
    return std::unexpected(attributes->error(NFTA_LIMIT_RATE, EINVAL, "a rate of zero"));
  }
  if (__builtin_mul_overflow(attributes->be64(NFTA_LIMIT_UNIT).host(), kSecond, &state.unit_ns)) {
    return std::unexpected(attributes->error(NFTA_LIMIT_UNIT, EOVERFLOW, "the unit is too long"));
  }
  const std::uint32_t type = attributes->has(NFTA_LIMIT_TYPE)
                                 ? attributes->be32(NFTA_LIMIT_TYPE).host()
                                 : std::uint32_t{NFT_LIMIT_PKTS};
  if (type > NFT_LIMIT_PKT_BYTES) {
    return std::unexpected(attributes->error(NFTA_LIMIT_TYPE, EOPNOTSUPP, "unknown type of limit"));
  }
  state.is_bytes = type == NFT_LIMIT_PKT_BYTES;
  state.burst = attributes->be32(NFTA_LIMIT_BURST).host();
  if (!state.is_bytes && state.burst == 0) state.burst = kDefaultPacketBurst;
  state.is_inverted = attributes->be32(NFTA_LIMIT_FLAGS).host() & NFT_LIMIT_F_INV;

  std::uint64_t rate_and_burst = 0;
  if (__builtin_add_overflow(state.rate, std::uint64_t{state.burst}, &rate_and_burst)) {
    return std::unexpected(overflow(*attributes));
  }
  if (!state.is_bytes) {
    state.most = state.unit_ns / state.rate * state.burst;
  } else if (__builtin_mul_overflow(state.unit_ns, rate_and_burst, &state.most)) {
    return std::unexpected(overflow(*attributes));
  } else {
    state.most /= state.rate;
  }
  state.words[0] = state.most;
  return state;
}

void write_limit(netlink::Writer& writer, const State& state) {
  writer.put_be64(NFTA_LIMIT_RATE, state.rate);
  writer.put_be64(NFTA_LIMIT_UNIT, state.unit_ns / kSecond);
  writer.put_be32(NFTA_LIMIT_BURST, state.burst);
  writer.put_be32(NFTA_LIMIT_TYPE, state.is_bytes ? NFT_LIMIT_PKT_BYTES : NFT_LIMIT_PKTS);
  writer.put_be32(NFTA_LIMIT_FLAGS, state.is_inverted ? std::uint32_t{NFT_LIMIT_F_INV} : 0u);
}

bool pass_limit(State& state, const Context& context) {
  const std::uint64_t price = state.is_bytes ? state.unit_ns * counted_bytes(context) / state.rate
                                             : state.unit_ns / state.rate;
  const auto now = static_cast<std::uint64_t>(context.now.time_since_epoch().count());
  const std::scoped_lock guard(state.lock);
  // Batches of two workers may carry times in either order.
  const std::uint64_t passed = now > state.words[1] ? now - state.words[1] : 0;
  const std::uint64_t tokens = std::min(state.most, state.words[0] + std::min(passed, state.most));
  state.words[1] = std::max(state.words[1], now);
  const bool is_within = tokens >= price;
  state.words[0] = is_within ? tokens - price : tokens;
  return is_within != state.is_inverted;
}

}  // namespace weir::rules
