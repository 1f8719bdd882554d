#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/error.h"
#include "control/server/event_filters.h"
#include "netlink/message.h"
#include "netlink/writer.h"

/// What a part of the engine implements to be reached over nfnetlink: the messages of one
/// NFNL_SUBSYS_*. Everything here is called on the control thread, one call at a time.
namespace weir::control {

/// Who is at the other end of a session (SO_PEERCRED when it connected).
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

/// One message that a tool has sent. Valid during the call that gets it.
struct Request {
  const netlink::Message& message;
  Peer peer;
  std::uint32_t port_id = 0;
  /// Whether the peer may change things. The server refuses what Subsystem::is_change() names by
  /// itself; a handler asks this only when the attributes decide.
  bool may_change = false;

  bool is_dump() const { return message.flags() & NLM_F_DUMP; }
  bool wants_echo() const { return message.flags() & NLM_F_ECHO; }

  /// The header of a message that answers this one: same subsystem, family, sequence and port id.
  netlink::Writer::Start answer(std::uint8_t number, std::uint16_t flags = 0) const {
    return {.type = static_cast<std::uint16_t>(message.subsystem() << 8 | number),
            .flags = flags,
            .sequence = message.sequence(),
            .port_id = port_id,
            .family = message.family().nfgen_family};
  }
};

/// A dump that goes on as its reader drains it. Owned by the reader's session; destroyed when it is
/// done or the reader goes away.
class Dump {
 public:
  enum class Step { more, done };

  virtual ~Dump() = default;

  /// Appends the next message, or none when what was looked at doesn't match, and says whether
  /// there is more to look at. A call does a bounded amount of work. The server sets NLM_F_MULTI
  /// and NLM_F_DUMP_INTR, splits datagrams between messages, and ends the dump. `room` is what is
  /// left of the datagram (about 3.7 KB when it is empty): a message that packs a list should not
  /// outgrow it, a message that must is sent alone. An error ends the dump with that errno in its
  /// NLMSG_DONE.
  virtual Result<Step> next(netlink::Writer& out, std::size_t room) = 0;

  /// What must not change during the dump for it to be consistent (the ruleset's generation). When
  /// it does, the reader is told by NLM_F_DUMP_INTR.
  virtual std::uint64_t generation() const { return 0; }
};

/// A request whose change is under way on a worker: its ack waits for it.
class Pending {
 public:
  virtual ~Pending() = default;
  /// Waits for it. How the request has ended.
  virtual Result<void> finish() = 0;
};

/// Takes what a handler answers.
class Reply {
 public:
  virtual ~Reply() = default;

  /// Where to append messages. Each becomes a datagram of its own, delivered before the ack.
  virtual netlink::Writer& writer() = 0;

  /// Answers with a dump. At most once a request; the server then sends no ack. Fails with EBUSY
  /// when the session is still reading an earlier dump.
  virtual Result<void> start_dump(std::unique_ptr<Dump> dump) = 0;

  /// Instead of waiting in the handler: the next messages of the datagram are handled meanwhile, as
  /// far as they may overtake. What the handler returns is to be this call's result.
  virtual Result<void> finish_later(std::unique_ptr<Pending> pending) { return pending->finish(); }

  /// Sets the asking socket's filter of events, as its setsockopt would.
  virtual Result<void> set_event_filter(const weir_event_filter& filter) = 0;
};

/// A message to a multicast group.
struct Notice {
  std::uint32_t group = 0;  ///< NFNLGRP_*
  Bytes datagram;           ///< Whole messages.
  /// The socket whose request caused it, and whether that asked for an echo: then it gets the
  /// message as a reply instead of as a member of the group (the kernel's nlmsg_notify).
  std::uint32_t port_id = 0;
  bool echo = false;
  /// What it tells, where that is more than its message's number: see weir_event_filter.
  std::optional<EventSubject> subject = {};
  /// Only to members that have set NETLINK_BROADCAST_ERROR: they have missed it before.
  bool only_reliable = false;
};

/// Where subsystems send what happened.
class Publisher {
 public:
  virtual ~Publisher() = default;

  virtual bool has_listeners(std::uint32_t group) const = 0;

  /// Delivers to every member of the group, and to the requester when it wants an echo. A member
  /// whose receive buffer is full loses the message and gets ENOBUFS. Returns ENOBUFS when such a
  /// member has set NETLINK_BROADCAST_ERROR, else zero.
  virtual int publish(const Notice& notice) = 0;
};

/// A subsystem whose changes come in batches, each of which applies whole or not at all
/// (nf_tables).
class Batches {
 public:
  virtual ~Batches() = default;

  /// Whether this message may be part of a batch; no other may.
  virtual bool takes(std::uint8_t number) const = 0;
  /// The generation that a batch must name when it names one; another gets ERESTART.
  virtual std::uint32_t generation() const = 0;
  /// Adds one message to the open transaction. After an error the server goes on with the rest, to
  /// report all errors of a batch, and aborts it at the end.
  virtual Result<void> apply(const Request& request) = 0;
  /// As apply(), for a batch that commit() has refused: also checks, after this message, what
  /// commit() checks, so that the message to blame is found.
  virtual Result<void> apply_checked(const Request& request) { return apply(request); }
  /// Makes the open transaction take effect. After an error it is forgotten. `request` is the
  /// message that ended the batch.
  virtual Result<void> commit(const Request& request) = 0;
  /// Forgets the open transaction, after checking it as commit() would when the tool only wanted a
  /// check (a batch without its end: `nft -c`).
  virtual Result<void> check_and_abort() = 0;
  /// Forgets the open transaction.
  virtual void abort() = 0;
};

class Subsystem {
 public:
  virtual ~Subsystem() = default;

  /// NFNL_SUBSYS_*
  virtual std::uint8_t id() const = 0;
  /// Whether the message needs the right to change; reading needs the right to read.
  virtual bool is_change(std::uint8_t number) const = 0;
  /// One message outside a batch. An error becomes its ack. EINVAL for a number that isn't known.
  virtual Result<void> handle(const Request& request, Reply& reply) = 0;
  /// Whether a message may be handled while earlier ones of its datagram are still under way
  /// (Reply::finish_later): it must not depend on what they do.
  virtual bool may_overtake(const netlink::Message&) const { return false; }
  /// Null when this subsystem takes no batches.
  virtual Batches* batches() { return nullptr; }
};

}  // namespace weir::control
