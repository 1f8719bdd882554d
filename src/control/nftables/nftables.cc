#include "control/nftables/nftables.h"

#include <cerrno>
#include <string>

#include "control/nftables/handlers.h"

namespace weir::control {
namespace {

using nftables::Heading;

/// The request's flags that its event repeats.
std::uint16_t event_flags(const rules::Notice& notice) {
  const std::uint16_t asked = notice.requester.flags;
  std::uint16_t flags = asked & (NLM_F_CREATE | NLM_F_EXCL);
  const bool is_rule = notice.message == NFT_MSG_NEWRULE || notice.message == NFT_MSG_DELRULE;
  if (is_rule && asked & (NLM_F_APPEND | NLM_F_REPLACE)) flags |= NLM_F_APPEND;
  return flags;
}

/// The handle of the rule before a new one that is neither the first nor the last of its chain;
/// else zero.
std::uint64_t previous_of(const rules::Rule& rule) {
  const auto& rules = rule.chain->rules;
  if (rules.empty() || rules.back().first.get() == &rule) return 0;
  std::uint64_t previous = 0;
  for (const auto& [each, is_shown] : rules) {
    if (each.get() == &rule) return previous;
    previous = each->handle;
  }
  return 0;
}

/// Gathers events of one transaction into datagrams, one receiver's echo wish at a time.
class EventWriter {
 public:
  EventWriter(Publisher& publisher, std::uint64_t generation)
      : publisher_(publisher),
        has_listeners_(publisher.has_listeners(NFNLGRP_NFTABLES)),
        generation_(generation) {}

  void add(const rules::Notice& notice) {
    const bool wants_echo = notice.requester.flags & NLM_F_ECHO;
    if (!has_listeners_ && !wants_echo) return;
    if (wants_echo != echo_ || buffer_.size() > kDatagramBytes) send();
    echo_ = wants_echo;
    port_id_ = notice.requester.port_id;
    write(notice);
  }

  void send() {
    if (buffer_.empty()) return;
    publisher_.publish(
        {.group = NFNLGRP_NFTABLES, .datagram = buffer_, .port_id = port_id_, .echo = echo_});
    buffer_.clear();
  }

 private:
  static constexpr std::size_t kDatagramBytes = 3072;

  void write(const rules::Notice& notice) {
    netlink::Writer writer(buffer_);
    const Heading heading{.message = notice.message,
                          .flags = event_flags(notice),
                          .sequence = notice.requester.sequence,
                          .port_id = notice.requester.port_id,
                          .generation = generation_};
    switch (notice.message) {
      case NFT_MSG_NEWTABLE:
      case NFT_MSG_DELTABLE:
        return nftables::write_table(writer, heading, *notice.table);
      case NFT_MSG_NEWCHAIN:
      case NFT_MSG_DELCHAIN:
        return nftables::write_chain(writer, heading, *notice.table, *notice.chain);
      case NFT_MSG_NEWRULE:
        return nftables::write_rule(writer, heading, *notice.chain, *notice.rule,
                                    previous_of(*notice.rule));
      case NFT_MSG_DELRULE:
        return nftables::write_rule(writer, heading, *notice.chain, *notice.rule, 0);
      case NFT_MSG_NEWSET:
      case NFT_MSG_DELSET:
        return nftables::write_set_notice(writer, heading, notice);
      case NFT_MSG_NEWSETELEM:
      case NFT_MSG_DELSETELEM:
        return nftables::write_elements_notice(writer, heading, notice);
      case NFT_MSG_NEWOBJ:
      case NFT_MSG_DELOBJ:
        return nftables::write_object_notice(writer, heading, notice);
    }
  }

  Publisher& publisher_;
  bool has_listeners_;
  std::uint64_t generation_;
  netlink::Buffer buffer_;
  std::uint32_t port_id_ = 0;
  bool echo_ = false;
};

}  // namespace

bool Nftables::takes(std::uint8_t number) const {
  return nftables::find_edit_handler(number) != nullptr;
}

bool Nftables::is_change(std::uint8_t number) const {
  return takes(number) || number == nftables::kGetRulesReset || number == NFT_MSG_GETOBJ_RESET ||
         number == nftables::kGetElementsReset;
}

Result<void> Nftables::handle(const Request& request, Reply& reply) {
  const auto handler = nftables::find_query_handler(request.message.number());
  if (!handler) return std::unexpected(Error{EINVAL, "no such nf_tables message"});
  nftables::Query query{.request = request, .ruleset = ruleset_, .reply = reply};
  return handler(query);
}

Result<void> Nftables::apply(const Request& request) {
  if (!transaction_) {
    transaction_.emplace(ruleset_.begin());
    first_ = {.port_id = request.port_id,
              .sequence = request.message.sequence(),
              .flags = request.message.flags()};
  }
  transaction_->set_requester({.port_id = request.port_id,
                               .sequence = request.message.sequence(),
                               .flags = request.message.flags()});
  nftables::Edit edit{.request = request, .ruleset = ruleset_, .transaction = *transaction_};
  return nftables::find_edit_handler(request.message.number())(edit);
}

Result<void> Nftables::apply_checked(const Request& request) {
  if (auto applied = apply(request); !applied) return applied;
  return ruleset_.validate(*transaction_);
}

Result<void> Nftables::commit(const Request& request) {
  if (!transaction_) return {};
  if (transaction_->is_empty()) {
    abort();
    return {};
  }
  if (auto result = ruleset_.commit(*transaction_); !result) {
    transaction_.reset();
    return result;
  }
  if (observer_) observer_->on_commit();
  publish(*transaction_);
  publish_generation(request);
  transaction_.reset();
  return {};
}

Result<void> Nftables::check_and_abort() {
  if (!transaction_) return {};
  Result<void> result = ruleset_.validate(*transaction_);
  abort();
  return result;
}

void Nftables::abort() {
  if (!transaction_) return;
  ruleset_.abort(*transaction_);
  transaction_.reset();
}

void Nftables::publish(const rules::Transaction& transaction) {
  EventWriter writer(publisher_, ruleset_.generation());
  for (const rules::Notice& notice : transaction.notices()) writer.add(notice);
  writer.send();
}

void Nftables::publish_generation(const Request& request) {
  const bool wants_echo = first_.flags & NLM_F_ECHO;
  if (!publisher_.has_listeners(NFNLGRP_NFTABLES) && !wants_echo) return;
  netlink::Buffer buffer;
  netlink::Writer writer(buffer);
  nftables::write_generation(writer,
                             {.message = NFT_MSG_NEWGEN,
                              .sequence = first_.sequence,
                              .port_id = request.port_id,
                              .generation = ruleset_.generation()},
                             request.peer);
  publisher_.publish({.group = NFNLGRP_NFTABLES,
                      .datagram = buffer,
                      .port_id = request.port_id,
                      .echo = wants_echo});
}

}  // namespace weir::control
