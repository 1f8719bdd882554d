#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "routing/neighbours.h"

struct mnl_socket;
struct nlmsghdr;

namespace weir::routing {

/// A NETLINK_ROUTE socket: dumps, requests, notifications.
class RtnetlinkSocket {
 public:
  static Result<RtnetlinkSocket> open();
  RtnetlinkSocket(RtnetlinkSocket&&) noexcept;
  ~RtnetlinkSocket();

  int fd() const;
  /// Joins an RTNLGRP_*. False when the kernel doesn't have it.
  bool join(unsigned group);
  /// Asks for a receive buffer of that size, past the system's limit where allowed.
  void set_receive_buffer(int bytes);
  enum class DumpEnd : std::uint8_t { complete, interrupted };

  /// Sends RTM_GET* as a dump for one family and calls `handle(context, message)` for each answer.
  /// `interrupted` says that the kernel's state changed meanwhile: what was delivered may be
  /// inconsistent.
  Result<DumpEnd> dump(std::uint16_t type, std::uint8_t family,
                       void (*handle)(void* context, const nlmsghdr&), void* context);
  /// Sends a message without waiting for an answer.
  Result<void> send(const nlmsghdr& message);
  /// Has the kernel resolve or confirm a neighbour, as if it had a packet for it; needs
  /// CAP_NET_ADMIN. The answer is a notification; a refusal (no such interface any more) needs
  /// none, the packets' deadline passes.
  void ask_neighbour(const NeighbourKey& key);

  /// Reads one datagram of notifications. False when none waits. ENOBUFS as an error: some were
  /// lost.
  Result<bool> receive(void (*handle)(void* context, const nlmsghdr&), void* context);

 private:
  explicit RtnetlinkSocket(mnl_socket* socket);
  mnl_socket* socket_;
  std::unique_ptr<std::uint8_t[]> buffer_;
  std::uint32_t sequence_ = 0;
};

}  // namespace weir::routing
