#pragma once

#include <linux/netfilter/nf_tables.h>

#include <memory>
#include <string_view>

#include "netlink/writer.h"
#include "rules/edit.h"

namespace weir::rules {

/// For tests: an expression is parsed from what nft would send, and stands in a table without
/// chains.
class Bench {
 public:
  Bench() : transaction(ruleset.begin()) {
    auto made = std::make_shared<Table>();
    made->name = "t";
    made->family = Family::inet;
    table = &add_table(ruleset, transaction, made);
  }

  template <typename Fill>
  Result<std::unique_ptr<Expression>> parse(std::string_view name, Fill&& fill) {
    netlink::Buffer buffer;
    netlink::Writer writer(buffer);
    writer.begin({});
    {
      const auto element = writer.nest_plain(NFTA_LIST_ELEM);
      writer.put_string(NFTA_EXPR_NAME, name);
      const auto data = writer.nest_plain(NFTA_EXPR_DATA);
      fill(writer);
    }
    writer.end();
    Bytes rest = buffer;
    const auto message = netlink::Message::take(rest);
    ParseContext context{.ruleset = ruleset, .transaction = transaction, .table = *table};
    return parse_expression(*message->attributes().begin(), context);
  }

  Epochs epochs{1};
  Ruleset ruleset{epochs};
  Transaction transaction;
  Table* table = nullptr;
};

}  // namespace weir::rules
