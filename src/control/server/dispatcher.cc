#include "control/server/dispatcher.h"

#include <cerrno>
#include <utility>
#include <vector>

namespace weir::control {
namespace {

constexpr netlink::Rule kBatchBegin[] = {
    {.type = NFNL_BATCH_GENID, .kind = netlink::Kind::u32},
};

/// Changes of one datagram that wait for workers together.
constexpr std::size_t kMostUnderWay = 512;

const char kUnauthorised[] = "this user may not do that: the engine's configuration lists who may";

/// Collects a handler's answer and passes it on when the handler has succeeded.
class SessionReply final : public Reply {
 public:
  SessionReply(Session& session, const netlink::Message& request)
      : session_(session), request_(request), writer_(buffer_) {}

  netlink::Writer& writer() override { return writer_; }

  Result<void> start_dump(std::unique_ptr<Dump> dump) override {
    if (session_.is_dumping()) {
      return std::unexpected(Error{EBUSY, "this socket is still reading another dump"});
    }
    dump_ = std::move(dump);
    return {};
  }

  Result<void> finish_later(std::unique_ptr<Pending> pending) override {
    pending_ = std::move(pending);
    return {};
  }

  Result<void> set_event_filter(const weir_event_filter& filter) override {
    return session_.set_event_filter(as_bytes(filter));
  }

  bool is_dump() const { return dump_ != nullptr; }
  std::unique_ptr<Pending> take_pending() { return std::move(pending_); }

  Result<void> send() {
    Bytes rest(buffer_);
    while (const auto message = netlink::Message::take(rest)) {
      session_.deliver(message->bytes(), 0);
    }
    if (dump_) return session_.start_dump(std::move(dump_), request_);
    return {};
  }

 private:
  Session& session_;
  const netlink::Message& request_;
  netlink::Buffer buffer_;
  netlink::Writer writer_;
  std::unique_ptr<Dump> dump_;
  std::unique_ptr<Pending> pending_;
};

}  // namespace

/// Requests of one datagram that are under way, in their order.
struct Dispatcher::UnderWay {
  struct One {
    netlink::Message message;
    std::unique_ptr<Pending> pending;
  };
  std::vector<One> requests;

  void finish(Session& session) {
    for (const One& one : requests) {
      const Result<void> result = one.pending->finish();
      if (!result) {
        send_ack(session, one.message, result.error());
      } else if (one.message.flags() & NLM_F_ACK) {
        send_ack(session, one.message, {});
      }
    }
    requests.clear();
  }
};

void send_ack(Session& session, const netlink::Message& request, const Error& error) {
  netlink::Buffer ack;
  netlink::append_ack(ack, request, error, session.ack_options());
  session.deliver(ack, 0);
}

Request request_of(const Session& session, const netlink::Message& message) {
  return {.message = message,
          .peer = session.identity().peer,
          .port_id = session.port_id(),
          .may_change = session.identity().rights.may_change};
}

void Dispatcher::add(Subsystem& subsystem) { subsystems_[subsystem.id()] = &subsystem; }

void Dispatcher::execute(Session& session, Bytes datagram) {
  Bytes rest = datagram;
  const auto first = netlink::Message::take(rest);
  if (!first) return;
  if (!session.identity().rights.may_read) {
    send_ack(session, *first, {.code = EPERM, .text = kUnauthorised});
    return;
  }
  if (first->header().nlmsg_type == NFNL_MSG_BATCH_BEGIN) {
    execute_batch(session, datagram);
  } else {
    execute_messages(session, datagram);
  }
}

void Dispatcher::execute_messages(Session& session, Bytes datagram) {
  UnderWay under_way;
  while (const auto message = netlink::Message::take(datagram)) {
    const bool is_request = message->flags() & NLM_F_REQUEST;
    if (is_request && message->header().nlmsg_type >= NLMSG_MIN_TYPE && message->has_family()) {
      execute_message(session, *message, under_way);
    } else if (message->flags() & NLM_F_ACK) {
      under_way.finish(session);
      send_ack(session, *message, {});
    }
  }
  under_way.finish(session);
}

void Dispatcher::execute_message(Session& session, const netlink::Message& message,
                                 UnderWay& under_way) {
  Subsystem* subsystem = find(message.subsystem());
  if (!subsystem || !subsystem->may_overtake(message)) under_way.finish(session);
  if (!subsystem) {
    send_ack(session, message, {.code = EINVAL, .text = "this engine has no such subsystem"});
    return;
  }
  const Request request = request_of(session, message);
  if (subsystem->is_change(message.number()) && !request.may_change) {
    under_way.finish(session);
    send_ack(session, message, {.code = EPERM, .text = kUnauthorised});
    return;
  }
  SessionReply reply(session, message);
  Result<void> result = subsystem->handle(request, reply);
  if (auto pending = reply.take_pending()) {
    under_way.requests.push_back({message, std::move(pending)});
    if (under_way.requests.size() == kMostUnderWay) under_way.finish(session);
    return;
  }
  // A refusal must not come before the acks of what is under way.
  if (!result) under_way.finish(session);
  const bool is_dump = reply.is_dump();
  if (result) result = reply.send();
  if (!result) {
    send_ack(session, message, result.error());
  } else if (message.flags() & NLM_F_ACK && !is_dump) {
    send_ack(session, message, {});
  }
}

void Dispatcher::execute_batch(Session& session, Bytes datagram) {
  const netlink::Message begin = *netlink::Message::take(datagram);
  if (!begin.has_family()) return;
  const auto attributes = netlink::Attributes::parse(begin.attributes(), kBatchBegin);
  if (!attributes) return send_ack(session, begin, {.code = attributes.error().code, .text = {}});
  if (!session.identity().rights.may_change) {
    return send_ack(session, begin, {.code = EPERM, .text = kUnauthorised});
  }
  // Old nft wrote the subsystem in the byte order of its machine.
  std::uint16_t id = begin.resource_id();
  if (begin.family().res_id == NFNL_SUBSYS_NFTABLES) id = NFNL_SUBSYS_NFTABLES;
  if (id >= NFNL_SUBSYS_COUNT) return send_ack(session, begin, {.code = EINVAL, .text = {}});
  Subsystem* subsystem = find(id);
  Batches* batches = subsystem ? subsystem->batches() : nullptr;
  if (!batches) return send_ack(session, begin, {.code = EOPNOTSUPP, .text = {}});
  const std::uint32_t generation = attributes->be32(NFNL_BATCH_GENID).host();
  if (generation && generation != batches->generation()) {
    return send_ack(session, begin, {.code = ERESTART, .text = {}});
  }
  run_batch(session, *subsystem, begin, datagram);
}

}  // namespace weir::control
