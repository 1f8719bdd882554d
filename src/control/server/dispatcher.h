#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "control/server/session.h"
#include "control/server/subsystem.h"
#include "netlink/message.h"

namespace weir::control {

/// Executes what a session sends: finds each message's subsystem, checks the right, calls the
/// handler, answers. As the kernel's nfnetlink_rcv, message for message and ack for ack.
class Dispatcher {
 public:
  /// `subsystem` must outlive the dispatcher; one a number.
  void add(Subsystem& subsystem);

  /// Executes one datagram. When this returns, its answers are queued in the session.
  void execute(Session& session, Bytes datagram);

 private:
  Subsystem* find(std::uint16_t id) const { return id < kSubsystems ? subsystems_[id] : nullptr; }

  struct UnderWay;

  void execute_messages(Session& session, Bytes datagram);
  /// Answers one message; the ack too, when it gets one and isn't added to what is under way.
  void execute_message(Session& session, const netlink::Message& message, UnderWay& under_way);
  void execute_batch(Session& session, Bytes datagram);

  static constexpr std::size_t kSubsystems = 256;
  std::array<Subsystem*, kSubsystems> subsystems_{};
};

/// Queues the ack of `request` (a failure when `error` has a code).
void send_ack(Session& session, const netlink::Message& request, const Error& error);

/// What a handler sees of a message and of who sent it.
Request request_of(const Session& session, const netlink::Message& message);

/// Executes the messages of a batch, from the one after NFNL_MSG_BATCH_BEGIN on. `begin` is that
/// message and `subsystem` the one that it names, which takes batches.
void run_batch(Session& session, Subsystem& subsystem, const netlink::Message& begin,
               Bytes messages);

}  // namespace weir::control
