#include "control/nftables/handlers.h"

#include <cerrno>
#include <cstdio>
#include <string>

namespace weir::control::nftables {
namespace {

/// The name of a process, as the kernel's task_struct has it; empty when it has gone.
std::string process_name(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/comm";
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (!file) return {};
  char text[17] = {};
  const std::size_t length = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  std::string name(text, length);
  while (name.ends_with('\n')) name.pop_back();
  return name;
}

}  // namespace

netlink::Writer::Start start_of(const Heading& heading, rules::Family family) {
  return {.type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | heading.message),
          .flags = heading.flags,
          .sequence = heading.sequence,
          .port_id = heading.port_id,
          .family = static_cast<std::uint8_t>(family),
          .resource_id = static_cast<std::uint16_t>(heading.generation)};
}

void write_generation(netlink::Writer& writer, const Heading& heading, const Peer& peer) {
  writer.begin(start_of(heading, rules::Family::unspec));
  writer.put_be32(NFTA_GEN_ID, static_cast<std::uint32_t>(heading.generation));
  writer.put_be32(NFTA_GEN_PROC_PID, static_cast<std::uint32_t>(peer.pid));
  writer.put_string(NFTA_GEN_PROC_NAME, process_name(peer.pid));
  writer.end();
}

Result<void> get_generation(Query& query) {
  write_generation(query.reply.writer(), query.heading(NFT_MSG_NEWGEN), query.request.peer);
  return {};
}

/// Flowtables can't be made yet (NEWFLOWTABLE is refused), so there are none to list.
Result<void> get_flowtables(Query& query) {
  if (query.request.is_dump()) {
    return start_list_dump(query, std::vector<int>(), [](netlink::Writer&, int, std::uint64_t) {});
  }
  return std::unexpected(Error{ENOENT, "there is no such flowtable"});
}

Result<void> new_flowtable(Edit&) {
  return std::unexpected(Error{EOPNOTSUPP, "weir has no flowtables"});
}

Result<void> delete_flowtable(Edit& edit) {
  if (edit.number() == kDestroyFlowtable) return {};
  return std::unexpected(Error{ENOENT, "there is no such flowtable"});
}

Result<rules::Table*> find_table(const rules::Ruleset& ruleset,
                                 const netlink::Attributes& attributes, std::uint16_t type,
                                 rules::Family family) {
  if (!attributes.has(type)) return std::unexpected(attributes.missing(type));
  rules::Table* table = ruleset.find_table(family, attributes.string(type));
  if (!table) return std::unexpected(attributes.error(type, ENOENT, ""));
  return table;
}

Result<rules::Chain*> find_chain(const rules::Table& table, const netlink::Attributes& attributes,
                                 std::uint16_t type) {
  if (!attributes.has(type)) return std::unexpected(attributes.missing(type));
  rules::Chain* chain = table.chains.find(attributes.string(type));
  if (!chain) return std::unexpected(attributes.error(type, ENOENT, ""));
  return chain;
}

EditHandler find_edit_handler(std::uint8_t number) {
  switch (number) {
    case NFT_MSG_NEWTABLE:
      return new_table;
    case NFT_MSG_DELTABLE:
    case kDestroyTable:
      return delete_table;
    case NFT_MSG_NEWCHAIN:
      return new_chain;
    case NFT_MSG_DELCHAIN:
    case kDestroyChain:
      return delete_chain;
    case NFT_MSG_NEWRULE:
      return new_rule;
    case NFT_MSG_DELRULE:
    case kDestroyRule:
      return delete_rule;
    case NFT_MSG_NEWSET:
      return new_set;
    case NFT_MSG_DELSET:
    case kDestroySet:
      return delete_set;
    case NFT_MSG_NEWSETELEM:
      return new_elements;
    case NFT_MSG_DELSETELEM:
    case kDestroyElements:
      return delete_elements;
    case NFT_MSG_NEWOBJ:
      return new_object;
    case NFT_MSG_DELOBJ:
    case kDestroyObject:
      return delete_object;
    case NFT_MSG_NEWFLOWTABLE:
      return new_flowtable;
    case NFT_MSG_DELFLOWTABLE:
    case kDestroyFlowtable:
      return delete_flowtable;
    default:
      return nullptr;
  }
}

QueryHandler find_query_handler(std::uint8_t number) {
  switch (number) {
    case NFT_MSG_GETTABLE:
      return get_tables;
    case NFT_MSG_GETCHAIN:
      return get_chains;
    case NFT_MSG_GETRULE:
    case kGetRulesReset:
      return get_rules;
    case NFT_MSG_GETSET:
      return get_sets;
    case NFT_MSG_GETSETELEM:
    case kGetElementsReset:
      return get_elements;
    case NFT_MSG_GETOBJ:
    case NFT_MSG_GETOBJ_RESET:
      return get_objects;
    case NFT_MSG_GETFLOWTABLE:
      return get_flowtables;
    case NFT_MSG_GETGEN:
      return get_generation;
    default:
      return nullptr;
  }
}

}  // namespace weir::control::nftables
