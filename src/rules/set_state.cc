#include "rules/set_state.h"

#include <linux/netfilter/nf_tables.h>

#include <string_view>

#include "rules/expr/counter.h"
#include "rules/expr/last.h"
#include "rules/expr/limit.h"
#include "rules/expr/quota.h"

namespace weir::rules {

State& State::operator=(const State& other) {
  kind = other.kind;
  is_inverted = other.is_inverted;
  is_bytes = other.is_bytes;
  burst = other.burst;
  rate = other.rate;
  unit_ns = other.unit_ns;
  most = other.most;
  words[0] = other.read(0);
  words[1] = other.read(1);
  return *this;
}

void State::eval(Registers& registers, Context& context) {
  switch (kind) {
    case Kind::none:
      break;
    case Kind::counter:
      count(*this, context);
      break;
    case Kind::limit:
      if (!pass_limit(*this, context)) registers.fail();
      break;
    case Kind::quota:
      if (consume_quota(*this, context) != is_inverted) registers.fail();
      break;
    case Kind::last:
      note_use(*this, context);
      break;
  }
}

void State::dump(netlink::Writer& writer, DumpMode mode, Time now) {
  static constexpr std::string_view kNames[] = {"", "counter", "limit", "quota", "last"};
  writer.put_string(NFTA_EXPR_NAME, kNames[static_cast<std::size_t>(kind)]);
  const auto nest = writer.nest_plain(NFTA_EXPR_DATA);
  switch (kind) {
    case Kind::none:
      break;
    case Kind::counter:
      dump_counter(writer, *this, mode);
      break;
    case Kind::limit:
      write_limit(writer, *this);
      break;
    case Kind::quota:
      write_quota(writer, *this, mode);
      break;
    case Kind::last:
      write_last(writer, *this, mode, now);
      break;
  }
}

}  // namespace weir::rules
