#include "rules/expr/counter.h"

#include <linux/netfilter/nf_tables.h>

#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_COUNTER_BYTES, .kind = netlink::Kind::u64},
    {.type = NFTA_COUNTER_PACKETS, .kind = netlink::Kind::u64},
};

class CounterExpression final : public StatefulExpression {
 public:
  CounterExpression(std::size_t workers, const Tally& initial)
      : initial_(initial), workers_(workers), counter_(workers, initial) {}

  const ExpressionKind& kind() const override { return kCounter; }
  void eval(Registers&, Context& context) const override { counter_.count(context); }
  void dump(netlink::Writer& writer, DumpMode mode) const override {
    write_tally(writer, mode == DumpMode::reset ? counter_.reset() : counter_.total());
  }
  std::unique_ptr<Expression> clone() const override {
    return std::make_unique<CounterExpression>(workers_, counter_.total());
  }
  State state() const override {
    State state;
    state.kind = State::Kind::counter;
    state.words[0] = initial_.packets;
    state.words[1] = initial_.bytes;
    return state;
  }

 private:
  Tally initial_;
  std::size_t workers_;
  mutable WorkerCounter counter_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region data, ParseContext& context) {
  const auto initial = parse_tally(data);
  if (!initial) return std::unexpected(initial.error());
  return std::make_unique<CounterExpression>(context.ruleset.epochs().participants(), *initial);
}

}  // namespace

const ExpressionKind kCounter = {.name = "counter", .parse = parse, .is_stateful = true};

WorkerCounter::WorkerCounter(std::size_t workers, const Tally& initial)
    : workers_(workers), shards_(new Shard[workers]), initial_(initial) {}

Tally WorkerCounter::counted() const {
  Tally sum;
  for (std::size_t w = 0; w < workers_; ++w) {
    sum.packets += shards_[w].packets.value();
    sum.bytes += shards_[w].bytes.value();
  }
  return sum;
}

Tally WorkerCounter::total() const {
  const Tally sum = counted();
  return {sum.packets + initial_.packets, sum.bytes + initial_.bytes};
}

Tally WorkerCounter::reset() {
  const Tally now = counted();
  const Tally total{now.packets + initial_.packets, now.bytes + initial_.bytes};
  initial_ = {0 - now.packets, 0 - now.bytes};
  return total;
}

Result<Tally> parse_tally(netlink::Region data) {
  const auto attributes = netlink::Attributes::parse(data, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  return Tally{.packets = attributes->be64(NFTA_COUNTER_PACKETS).host(),
               .bytes = attributes->be64(NFTA_COUNTER_BYTES).host()};
}

void write_tally(netlink::Writer& writer, const Tally& tally) {
  writer.put_be64(NFTA_COUNTER_BYTES, tally.bytes);
  writer.put_be64(NFTA_COUNTER_PACKETS, tally.packets);
}

void count(State& state, const Context& context) {
  state.word(0).fetch_add(1, std::memory_order_relaxed);
  state.word(1).fetch_add(counted_bytes(context), std::memory_order_relaxed);
}

void dump_counter(netlink::Writer& writer, State& state, DumpMode mode) {
  const Tally tally{.packets = state.read(0), .bytes = state.read(1)};
  write_tally(writer, tally);
  if (mode != DumpMode::reset) return;
  state.word(0).fetch_sub(tally.packets, std::memory_order_relaxed);
  state.word(1).fetch_sub(tally.bytes, std::memory_order_relaxed);
}

}  // namespace weir::rules
