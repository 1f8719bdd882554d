#include "rules/expr/last.h"

#include <linux/netfilter/nf_tables.h>

namespace weir::rules {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_LAST_SET, .kind = netlink::Kind::u32},
    {.type = NFTA_LAST_MSECS, .kind = netlink::Kind::u64},
};

class Last final : public StatefulExpression {
 public:
  explicit Last(const State& state) : initial_(state), state_(state) {}

  const ExpressionKind& kind() const override { return kLast; }
  void eval(Registers&, Context& context) const override { note_use(state_, context); }
  void dump(netlink::Writer& writer, DumpMode mode) const override {
    write_last(writer, state_, mode, boot_time());
  }
  std::unique_ptr<Expression> clone() const override { return std::make_unique<Last>(initial_); }
  State state() const override { return initial_; }

 private:
  const State initial_;
  mutable State state_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region data, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(data, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  State state;
  state.kind = State::Kind::last;
  if (attributes->be32(NFTA_LAST_SET).host() == 1) {
    const auto now = static_cast<std::uint64_t>(boot_time().time_since_epoch().count());
    const std::uint64_t ago = attributes->be64(NFTA_LAST_MSECS).host() * kMillisecond;
    state.words[0] = 1;
    state.words[1] = now > ago ? now - ago : 0;
  }
  return std::make_unique<Last>(state);
}

}  // namespace

const ExpressionKind kLast = {.name = "last", .parse = parse, .is_stateful = true};

void note_use(State& state, const Context& context) {
  const auto now = static_cast<std::uint64_t>(context.now.time_since_epoch().count());
  if (state.read(1) != now) state.word(1).store(now, std::memory_order_relaxed);
  if (state.read(0) == 0) state.word(0).store(1, std::memory_order_relaxed);
}

void write_last(netlink::Writer& writer, State& state, DumpMode mode, Time now) {
  const auto set = static_cast<std::uint32_t>(state.read(0));
  const std::uint64_t used = state.read(1);
  const auto at = static_cast<std::uint64_t>(now.time_since_epoch().count());
  writer.put_be32(NFTA_LAST_SET, set);
  writer.put_be64(NFTA_LAST_MSECS,
                  set && at > used ? (at - used) / kMillisecond : std::uint64_t{0});
  if (mode == DumpMode::reset) state.word(0).store(0, std::memory_order_relaxed);
}

}  // namespace weir::rules
