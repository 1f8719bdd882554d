// What is saved: a header, then records of a fixed part and one netlink message each. The messages
// are a dump's (handlers.h: Heading::is_saved), in an order in which each refers only to what came
// before it: of each table first itself, its objects, chains and sets, then the sets' elements, and
// at last the rules, chain by chain. Between saving and restoring, nobody but weir reads them: the
// numbers are in the machine's byte order.
//
// Handles can't be asked for; they are drawn from counters. So each record carries the handle that
// its thing had, and restoring sets the counter before the handler draws.
#include "control/nftables/save.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "control/nftables/handlers.h"
#include "rules/edit.h"
#include "rules/object.h"
#include "rules/set.h"

namespace weir::control {
namespace {

using nftables::Heading;

constexpr std::uint64_t kMagic = 0x736c75722d726977;  // "wir-ruls" in memory.
constexpr std::uint32_t kLayoutVersion = 1;
constexpr std::size_t kElementsBytes = 32768;  // Of a message; a list must stay below 64 KB.

struct Header {
  std::uint64_t magic = kMagic;
  std::uint32_t layout_version = kLayoutVersion;
  std::uint32_t records = 0;
  std::int64_t saved_at = 0;  // On the clock that deadlines are on.
  rules::Ruleset::Numbers numbers;
};

/// What stands before each message.
struct Record {
  std::uint64_t handle = 0;  // Of the thing that the message makes; zero for elements.
  /// Of a table the last handle that it had given away; of a base chain its registration.
  std::uint64_t number = 0;
};

template <typename T>
void append(netlink::Buffer& out, const T& value) {
  const Bytes bytes = as_bytes(value);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename T>
bool take(Bytes& from, T& value) {
  if (from.size() < sizeof value) return false;
  std::memcpy(&value, from.data(), sizeof value);
  from = from.subspan(sizeof value);
  return true;
}

class Saver {
 public:
  Saver(rules::Ruleset& ruleset, netlink::Buffer& out)
      : ruleset_(ruleset), out_(out), writer_(out) {}

  std::uint32_t run() {
    ruleset_.tables.for_each([this](rules::Table& table) { save(table); });
    return records_;
  }

 private:
  void save(rules::Table& table) {
    start({.handle = table.handle, .number = table.last_handle});
    nftables::write_table(writer_, heading(NFT_MSG_NEWTABLE), table);
    table.objects.for_each([&](rules::Object& object) {
      start({.handle = object.handle});
      nftables::write_object(writer_, heading(NFT_MSG_NEWOBJ), table, object,
                             rules::DumpMode::save);
    });
    table.chains.for_each([&](rules::Chain& chain) {
      start({.handle = chain.handle, .number = chain.base ? chain.base->registered : 0});
      nftables::write_chain(writer_, heading(NFT_MSG_NEWCHAIN), table, chain);
    });
    table.sets.for_each([&](rules::Set& set) {
      start({.handle = set.handle});
      nftables::write_set(writer_, heading(NFT_MSG_NEWSET), table, set);
    });
    table.sets.for_each([&](rules::Set& set) { save_elements(table, set); });
    table.chains.for_each([&](rules::Chain& chain) {
      chain.for_each_rule([&](const rules::Rule& rule) {
        start({.handle = rule.handle});
        nftables::write_rule(writer_, heading(NFT_MSG_NEWRULE, NLM_F_APPEND), chain, rule, 0,
                             rules::DumpMode::save);
      });
    });
  }

  void save_elements(const rules::Table& table, const rules::Set& set) {
    const sets::View view{.now = ruleset_.now(),
                          .generation = static_cast<std::uint32_t>(ruleset_.generation())};
    std::uint64_t cursor = 0;
    do {
      start({});
      cursor = nftables::write_elements(writer_, heading(NFT_MSG_NEWSETELEM), table, set, cursor,
                                        kElementsBytes, rules::DumpMode::save, view);
    } while (cursor != 0);
  }

  void start(const Record& record) {
    append(out_, record);
    ++records_;
  }
  Heading heading(std::uint8_t message, std::uint16_t flags = 0) const {
    return {.message = message,
            .flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_CREATE | flags),
            .is_saved = true};
  }

  rules::Ruleset& ruleset_;
  netlink::Buffer& out_;
  netlink::Writer writer_;
  std::uint32_t records_ = 0;
};

std::unexpected<Error> damaged(const char* what) {
  return std::unexpected(Error{EINVAL, std::string("the saved rules are damaged: ") + what});
}

class Restorer {
 public:
  explicit Restorer(rules::Ruleset& ruleset)
      : ruleset_(ruleset), transaction_(ruleset.begin()), numbers_(ruleset.numbers()) {}

  Result<void> run(std::uint32_t records, Bytes rest) {
    Result<void> made;
    for (std::uint32_t i = 0; i < records && made; ++i) made = restore_next(rest);
    if (made && !rest.empty()) made = damaged("more than the header says");
    if (!made) {
      ruleset_.abort(transaction_);
      return made;
    }
    for (const auto& [table, last_handle] : tables_) table->last_handle = last_handle;
    return ruleset_.commit(transaction_);
  }

 private:
  Result<void> restore_next(Bytes& rest) {
    Record record;
    if (!take(rest, record)) return damaged("they end early");
    const auto message = netlink::Message::take(rest);
    if (!message || !message->has_family()) return damaged("no message where one is due");
    const std::uint8_t number = message->number();
    const auto handler = nftables::find_edit_handler(number);
    const bool is_making = message->flags() & NLM_F_CREATE && !(message->flags() & NLM_F_REPLACE);
    if (!handler || !is_making || message->subsystem() != NFNL_SUBSYS_NFTABLES) {
      return damaged("a message that makes nothing");
    }
    if (number == NFT_MSG_NEWTABLE) return restore_table(*message, handler, record);
    if (tables_.empty()) return damaged("no table comes first");
    if (record.handle != 0) tables_.back().first->last_handle = record.handle - 1;
    if (record.number != 0) set_numbers({.registration = record.number - 1});
    return apply(*message, handler);
  }

  Result<void> restore_table(const netlink::Message& message, nftables::EditHandler handler,
                             const Record& record) {
    if (record.handle == 0 || ruleset_.tables.find_handle(record.handle)) {
      return damaged("two tables of one handle");
    }
    set_numbers({.table_handle = record.handle - 1});
    if (auto made = apply(message, handler); !made) return made;
    rules::Table* const table = ruleset_.tables.find_handle(record.handle);
    if (!table) return damaged("a table comes twice");
    tables_.emplace_back(table, record.number);
    return {};
  }

  Result<void> apply(const netlink::Message& message, nftables::EditHandler handler) {
    const Request request{.message = message, .peer = {}, .port_id = 0, .may_change = true};
    nftables::Edit edit{
        .request = request, .ruleset = ruleset_, .transaction = transaction_, .is_restored = true};
    auto done = handler(edit);
    if (done) return done;
    return std::unexpected(
        Error{done.error().code, "the saved rules can't be made again: " + done.error().text +
                                     " (message " + std::to_string(message.number()) + ": " +
                                     std::strerror(done.error().code) + ")"});
  }

  /// The counters that the next message draws from.
  void set_numbers(const rules::Ruleset::Numbers& next) {
    ruleset_.set_numbers({.generation = numbers_.generation,
                          .table_handle = next.table_handle,
                          .registration = next.registration,
                          .chain_number = numbers_.chain_number});
  }

  rules::Ruleset& ruleset_;
  rules::Transaction transaction_;
  const rules::Ruleset::Numbers numbers_;
  std::vector<std::pair<rules::Table*, std::uint64_t>> tables_;
};

}  // namespace

void save_ruleset(rules::Ruleset& ruleset, netlink::Buffer& out) {
  Header header{.saved_at = ruleset.now().time_since_epoch().count(), .numbers = ruleset.numbers()};
  const std::size_t at = out.size();
  append(out, header);
  header.records = Saver(ruleset, out).run();
  std::memcpy(out.data() + at, &header, sizeof header);
}

Result<void> restore_ruleset(rules::Ruleset& ruleset, Bytes saved) {
  Header header;
  if (!take(saved, header) || header.magic != kMagic) return damaged("they don't begin as such");
  if (header.layout_version != kLayoutVersion) {
    return std::unexpected(
        Error{EINVAL, "the saved rules are in the form of another version of weir"});
  }
  const Time saved_at{Duration(header.saved_at)};
  if (saved_at < Time{} || saved_at > ruleset.now() || header.numbers.generation == 0) {
    return damaged("the time or the generation can't be");
  }
  const rules::Ruleset::Numbers before = ruleset.numbers();
  // The commit makes the generation that was saved. What elements have left counts from then.
  ruleset.set_numbers({.generation = header.numbers.generation - 1});
  ruleset.set_replay_now(saved_at);
  auto restored = Restorer(ruleset).run(header.records, saved);
  ruleset.set_replay_now({});
  ruleset.set_numbers(restored ? header.numbers : before);
  return restored;
}

}  // namespace weir::control
