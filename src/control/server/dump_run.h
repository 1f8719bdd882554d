#pragma once

#include <cstdint>
#include <memory>

#include "control/server/subsystem.h"
#include "netlink/message.h"

namespace weir::control {

/// A dump under way: turns what a Dump tells, message by message, into datagrams that a reader's
/// 4096 bytes can hold, and ends it with NLMSG_DONE.
class DumpRun {
 public:
  enum class Progress {
    datagram,  ///< `out` holds the next datagram.
    nothing,   ///< Much was looked at and nothing matched; call again.
    finished,  ///< `out` holds the NLMSG_DONE. There is no more.
  };

  /// `request` is the message that asked for it.
  DumpRun(std::unique_ptr<Dump> dump, const netlink::Message& request, std::uint32_t port_id);

  /// Makes the next datagram, in a bounded number of steps.
  Progress produce(netlink::Buffer& out);

 private:
  void take_steps(netlink::Buffer& out);
  void step(netlink::Buffer& out);
  void mark_messages(netlink::Buffer& out);
  bool has_generation_changed();

  std::unique_ptr<Dump> dump_;
  std::uint32_t sequence_;
  std::uint32_t port_id_;
  std::uint64_t generation_;
  netlink::Buffer carried_;  ///< The message that didn't fit into the last datagram.
  int status_ = 0;           ///< For the NLMSG_DONE.
  bool is_told_ = false;     ///< The Dump has no more.
};

}  // namespace weir::control
