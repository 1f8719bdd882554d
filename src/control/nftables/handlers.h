#pragma once

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "control/server/subsystem.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"
#include "rules/expression.h"
#include "rules/ruleset.h"
#include "rules/transaction.h"
#include "sets/view.h"

/// What each nf_tables message means. Files are named for what they handle (tables.cc, chains.cc,
/// rules.cc, sets.cc, elements.cc, objects.cc); the table that leads to them is in handlers.cc.
namespace weir::control::nftables {

/// NFT_MSG_DESTROY*, which <linux/netfilter/nf_tables.h> has from Linux 6.3: delete, and don't mind
/// when there is nothing.
inline constexpr std::uint8_t kDestroyTable = 26;
inline constexpr std::uint8_t kDestroyChain = 27;
inline constexpr std::uint8_t kDestroyRule = 28;
inline constexpr std::uint8_t kDestroySet = 29;
inline constexpr std::uint8_t kDestroyElements = 30;
inline constexpr std::uint8_t kDestroyObject = 31;
inline constexpr std::uint8_t kDestroyFlowtable = 32;
inline constexpr std::uint8_t kGetElementsReset = 33;
/// NFT_MSG_GETRULE_RESET, from Linux 6.2.
inline constexpr std::uint8_t kGetRulesReset = 25;

/// The header of a message about this: answers and events share the shape. Sequence and port id are
/// to be added.
struct Heading {
  std::uint8_t message = 0;  // NFT_MSG_*.
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
  std::uint64_t generation = 0;
  /// The message is to be a request that makes the thing again (save.h): without the handle, which
  /// would name one that is there.
  bool is_saved = false;
};
/// One message of a batch, and what it works on.
struct Edit {
  const Request& request;
  rules::Ruleset& ruleset;
  rules::Transaction& transaction;
  bool is_restored = false;  // Of a saved ruleset: what a binding has closed still takes its rules.

  rules::Family family() const {
    return static_cast<rules::Family>(request.message.family().nfgen_family);
  }
  bool has(std::uint16_t flag) const { return request.message.flags() & flag; }
  netlink::Region attributes() const { return request.message.attributes(); }
  std::uint8_t number() const { return request.message.number(); }
};
using EditHandler = Result<void> (*)(Edit& edit);

/// One message outside of batches; it changes nothing, except that GET*_RESET zeroes counters.
struct Query {
  const Request& request;
  rules::Ruleset& ruleset;
  Reply& reply;

  rules::Family family() const {
    return static_cast<rules::Family>(request.message.family().nfgen_family);
  }
  netlink::Region attributes() const { return request.message.attributes(); }
  bool resets() const {
    const std::uint8_t number = request.message.number();
    return number == kGetRulesReset || number == NFT_MSG_GETOBJ_RESET ||
           number == kGetElementsReset;
  }
  rules::DumpMode mode() const { return resets() ? rules::DumpMode::reset : rules::DumpMode::keep; }
  /// Of a message that answers this one. In a dump the generation is the one that the dump began
  /// in.
  Heading heading(std::uint8_t message, std::uint16_t flags = 0) const {
    return {.message = message,
            .flags = flags,
            .sequence = request.message.sequence(),
            .port_id = request.port_id,
            .generation = ruleset.generation()};
  }
};
using QueryHandler = Result<void> (*)(Query& query);

// In a batch.
Result<void> new_table(Edit& edit);
Result<void> delete_table(Edit& edit);
Result<void> new_chain(Edit& edit);
Result<void> delete_chain(Edit& edit);
Result<void> new_rule(Edit& edit);
Result<void> delete_rule(Edit& edit);
Result<void> new_set(Edit& edit);
Result<void> delete_set(Edit& edit);
Result<void> new_elements(Edit& edit);
Result<void> delete_elements(Edit& edit);
Result<void> new_object(Edit& edit);
Result<void> delete_object(Edit& edit);

// Outside, dumps or single (request.is_dump()). The RESET variants are the same functions: they
// look at the message's number.
Result<void> get_tables(Query& query);
Result<void> get_chains(Query& query);
Result<void> get_rules(Query& query);
Result<void> get_sets(Query& query);
Result<void> get_elements(Query& query);
Result<void> get_objects(Query& query);
Result<void> get_flowtables(Query& query);
Result<void> get_generation(Query& query);

Result<void> new_flowtable(Edit& edit);
Result<void> delete_flowtable(Edit& edit);

/// Who handles a message; null when nobody does.
EditHandler find_edit_handler(std::uint8_t number);
QueryHandler find_query_handler(std::uint8_t number);

/// NFT_MSG_NEWGEN: the generation, and the process that asked or made it.
void write_generation(netlink::Writer& writer, const Heading& heading, const Peer& peer);

netlink::Writer::Start start_of(const Heading& heading, rules::Family family);

// One whole message (begin to end) about one thing, as dumps and events carry it. What NFT_MSG_DEL*
// leaves out is left out.
void write_table(netlink::Writer& writer, const Heading& heading, const rules::Table& table);
void write_chain(netlink::Writer& writer, const Heading& heading, const rules::Table& table,
                 const rules::Chain& chain);
/// `previous` is the handle of the rule before it, zero for none.
void write_rule(netlink::Writer& writer, const Heading& heading, const rules::Chain& chain,
                const rules::Rule& rule, std::uint64_t previous,
                rules::DumpMode mode = rules::DumpMode::keep);

// Sets, elements and objects, and what an event says of them (notice.detail): sets.cc, elements.cc,
// objects.cc.
void write_set(netlink::Writer& writer, const Heading& heading, const rules::Table& table,
               const rules::Set& set);
/// Some elements of a set, as many as fit into `room` bytes; the cursor to go on from (zero to
/// begin and at the end).
std::uint64_t write_elements(netlink::Writer& writer, const Heading& heading,
                             const rules::Table& table, const rules::Set& set, std::uint64_t cursor,
                             std::size_t room, rules::DumpMode mode, const sets::View& view);
void write_object(netlink::Writer& writer, const Heading& heading, const rules::Table& table,
                  rules::Object& object, rules::DumpMode mode);
void write_set_notice(netlink::Writer& writer, const Heading& heading, const rules::Notice& notice);
void write_elements_notice(netlink::Writer& writer, const Heading& heading,
                           const rules::Notice& notice);
void write_object_notice(netlink::Writer& writer, const Heading& heading,
                         const rules::Notice& notice);

/// The table that the attribute names, in the family. Errors: EINVAL when there is no attribute,
/// ENOENT.
Result<rules::Table*> find_table(const rules::Ruleset& ruleset,
                                 const netlink::Attributes& attributes, std::uint16_t type,
                                 rules::Family family);
/// The chain of that name. Errors: as find_table.
Result<rules::Chain*> find_chain(const rules::Table& table, const netlink::Attributes& attributes,
                                 std::uint16_t type);

/// Whether a DESTROY request met an absence, which is no error.
inline bool forgives(const Edit& edit, const Error& error) {
  return edit.number() >= kDestroyTable && error.code == ENOENT;
}

/// A dump of what was listed when it began. It keeps that alive; when the ruleset changes
/// meanwhile, the reader is told (NLM_F_DUMP_INTR) and starts over. Item is copyable and shares
/// what it names; `write(writer, item, generation)` writes one whole message.
template <typename Item, typename Write>
class ListDump final : public Dump {
 public:
  ListDump(const rules::Ruleset& ruleset, std::vector<Item> items, Write write)
      : ruleset_(ruleset),
        generation_(ruleset.generation()),
        items_(std::move(items)),
        write_(std::move(write)) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    if (next_ == items_.size()) return Step::done;
    write_(out, items_[next_++], generation_);
    return next_ == items_.size() ? Step::done : Step::more;
  }
  std::uint64_t generation() const override { return ruleset_.generation(); }

 private:
  const rules::Ruleset& ruleset_;
  std::uint64_t generation_;
  std::vector<Item> items_;
  std::size_t next_ = 0;
  Write write_;
};

template <typename Item, typename Write>
Result<void> start_list_dump(Query& query, std::vector<Item> items, Write write) {
  return query.reply.start_dump(
      std::make_unique<ListDump<Item, Write>>(query.ruleset, std::move(items), std::move(write)));
}

}  // namespace weir::control::nftables
