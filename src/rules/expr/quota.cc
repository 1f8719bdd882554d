#include "rules/expr/quota.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_QUOTA_BYTES, .kind = netlink::Kind::u64, .required = true},
    {.type = NFTA_QUOTA_FLAGS, .kind = netlink::Kind::u32},
    {.type = NFTA_QUOTA_CONSUMED, .kind = netlink::Kind::u64},
};

class Quota final : public StatefulExpression {
 public:
  explicit Quota(const State& state) : initial_(state), state_(state) {}

  const ExpressionKind& kind() const override { return kQuota; }
  void eval(Registers& registers, Context& context) const override {
    if (consume_quota(state_, context) != state_.is_inverted) registers.fail();
  }
  void dump(netlink::Writer& writer, DumpMode mode) const override {
    write_quota(writer, state_, mode);
  }
  std::unique_ptr<Expression> clone() const override { return std::make_unique<Quota>(initial_); }
  State state() const override { return initial_; }

 private:
  const State initial_;
  mutable State state_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region data, ParseContext&) {
  const auto state = parse_quota(data);
  if (!state) return std::unexpected(state.error());
  return std::make_unique<Quota>(*state);
}

}  // namespace

const ExpressionKind kQuota = {.name = "quota", .parse = parse, .is_stateful = true};

Result<State> parse_quota(netlink::Region data) {
  const auto attributes = netlink::Attributes::parse(data, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  State state;
  state.kind = State::Kind::quota;
  state.rate = attributes->be64(NFTA_QUOTA_BYTES).host();
  state.words[0] = attributes->be64(NFTA_QUOTA_CONSUMED).host();
  if (state.rate > INT64_MAX) {
    return std::unexpected(
        attributes->error(NFTA_QUOTA_BYTES, EOVERFLOW, "the quota is too large"));
  }
  if (state.words[0] > state.rate) {
    return std::unexpected(attributes->error(NFTA_QUOTA_CONSUMED, EINVAL,
                                             "more has been consumed than the quota has"));
  }
  const std::uint32_t flags = attributes->be32(NFTA_QUOTA_FLAGS).host();
  if (flags & ~NFT_QUOTA_F_INV) {
    return std::unexpected(
        attributes->error(NFTA_QUOTA_FLAGS, EOPNOTSUPP, "unknown flag of a quota"));
  }
  state.is_inverted = flags & NFT_QUOTA_F_INV;
  return state;
}

void write_quota(netlink::Writer& writer, State& state, DumpMode mode) {
  const std::uint64_t consumed = state.read(0);
  std::uint32_t flags = state.is_inverted ? NFT_QUOTA_F_INV : 0;
  if (mode != DumpMode::save && consumed >= state.rate) flags |= NFT_QUOTA_F_DEPLETED;
  writer.put_be64(NFTA_QUOTA_BYTES, state.rate);
  writer.put_be64(NFTA_QUOTA_CONSUMED, std::min(consumed, state.rate));
  writer.put_be32(NFTA_QUOTA_FLAGS, flags);
  if (mode == DumpMode::reset) {
    state.word(0).fetch_sub(consumed, std::memory_order_relaxed);
    state.word(1).store(0, std::memory_order_relaxed);
  }
}

bool consume_quota(State& state, const Context& context) {
  const std::uint64_t bytes = counted_bytes(context);
  return state.word(0).fetch_add(bytes, std::memory_order_relaxed) + bytes > state.rate;
}

}  // namespace weir::rules
