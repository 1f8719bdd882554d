#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "control/server/dispatcher.h"

/// A batch: every message is tried, so that a tool hears of all its errors at once; then the whole
/// is committed or nothing of it. Errors and acks are sent when that is decided, in the order of
/// the messages (the kernel's nfnetlink_rcv_batch). What only the whole batch shows to be wrong (a
/// loop of chains) is blamed on the message that completed it: the batch is gone through once more,
/// checked after each message.
namespace weir::control {
namespace {

class Batch {
 public:
  Batch(Session& session, Subsystem& subsystem)
      : session_(session), subsystem_(subsystem), batches_(*subsystem.batches()) {}

  void run(const netlink::Message& begin, Bytes messages);

 private:
  enum class End { none, reached, malformed };

  struct Answer {
    netlink::Message message;
    Error error;
  };

  using Apply = Result<void> (Batches::*)(const Request& request);

  End apply_messages(Bytes messages, Apply how);
  Result<void> apply(const netlink::Message& message, Apply how);
  void blame(const netlink::Message& first, Bytes messages, const Error& error);
  void note(const netlink::Message& message, Error error) {
    answers_.push_back({message, std::move(error)});
  }

  Session& session_;
  Subsystem& subsystem_;
  Batches& batches_;
  std::vector<Answer> answers_;
  std::optional<netlink::Message> end_;
  bool has_failed_ = false;
};

Result<void> Batch::apply(const netlink::Message& message, Apply how) {
  const bool is_ours = message.flags() & NLM_F_REQUEST &&
                       message.header().nlmsg_type >= NLMSG_MIN_TYPE &&
                       message.subsystem() == subsystem_.id();
  if (!is_ours) return std::unexpected(Error{EINVAL, "a batch is for one subsystem's requests"});
  if (!batches_.takes(message.number())) {
    return std::unexpected(Error{EINVAL, "this message can't be part of a batch"});
  }
  return (batches_.*how)(request_of(session_, message));
}

Batch::End Batch::apply_messages(Bytes messages, Apply how) {
  while (messages.size() >= netlink::Message::kHeaderBytes) {
    const auto message = netlink::Message::take(messages);
    if (!message || !message->has_family()) return End::malformed;
    const std::uint16_t type = message->header().nlmsg_type;
    const bool is_request = message->flags() & NLM_F_REQUEST;
    if (is_request && type == NFNL_MSG_BATCH_BEGIN) return End::malformed;
    if (is_request && type == NFNL_MSG_BATCH_END) {
      end_ = message;
      return End::reached;
    }
    const Result<void> result = apply(*message, how);
    if (!result) {
      has_failed_ = true;
      note(*message, result.error());
    } else if (message->flags() & NLM_F_ACK) {
      note(*message, {});
    }
  }
  return End::none;
}

/// The batch as a whole was refused.
void Batch::blame(const netlink::Message& first, Bytes messages, const Error& error) {
  answers_.clear();
  has_failed_ = false;
  apply_messages(messages, &Batches::apply_checked);
  batches_.abort();
  if (!has_failed_) send_ack(session_, first, error);
}

void Batch::run(const netlink::Message& begin, Bytes messages) {
  Bytes peek = messages;
  const netlink::Message first = netlink::Message::take(peek).value_or(begin);
  const End end = apply_messages(messages, &Batches::apply);
  if (end == End::malformed) answers_.clear();
  if (end == End::malformed || has_failed_) {
    batches_.abort();
  } else {
    const Result<void> result = end == End::reached ? batches_.commit(request_of(session_, *end_))
                                                    : batches_.check_and_abort();
    if (!result) {
      blame(first, messages, result.error());
    } else if (end == End::reached && end_->flags() & NLM_F_ACK) {
      note(*end_, {});
    }
  }
  if (begin.flags() & NLM_F_ACK && end != End::malformed) send_ack(session_, begin, {});
  for (const Answer& answer : answers_) send_ack(session_, answer.message, answer.error);
}

}  // namespace

void run_batch(Session& session, Subsystem& subsystem, const netlink::Message& begin,
               Bytes messages) {
  Batch(session, subsystem).run(begin, messages);
}

}  // namespace weir::control
