#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/error.h"
#include "netlink/message.h"

namespace weir::tools {

/// A tool's nfnetlink socket: a plain NETLINK_NETFILTER socket, so it reaches the kernel, or the
/// engine when the process runs under `weir exec`.
class NetlinkSocket {
 public:
  using Each = std::function<void(const netlink::Message&)>;

  static Result<NetlinkSocket> open();
  NetlinkSocket(NetlinkSocket&& other) noexcept;
  NetlinkSocket& operator=(NetlinkSocket&&) = delete;
  ~NetlinkSocket();

  /// Sends one request (of Writer, with sequence() as its sequence) and gives each message of the
  /// answer to `each`, until the acknowledgement or the end of the dump. A request must ask for one
  /// of them (NLM_F_ACK or NLM_F_DUMP). Errors: the errno and text of the answer.
  Result<void> ask(const netlink::Buffer& request, const Each& each = {});
  /// Sends a request without attributes for a dump.
  Result<void> dump(std::uint8_t subsystem, std::uint8_t number, const Each& each);
  /// For the next request.
  std::uint32_t sequence() { return ++sequence_; }

  /// From now on the text of an Error is the other side's where it gives one (NETLINK_EXT_ACK),
  /// else, as before, what the errno means.
  void ask_for_reasons();

  /// Joins multicast groups (NFNLGRP_*).
  Result<void> join(std::span<const std::uint32_t> groups);
  /// Asks for a receive buffer of this many bytes; what it has become.
  std::uint32_t set_receive_buffer(std::uint32_t bytes);
  /// Waits for one datagram and gives each of its messages to `each`. Errors: ENOBUFS when
  /// datagrams were lost, EINTR.
  Result<void> receive(const Each& each);
  /// How many datagrams this socket has lost since it was opened (SO_MEMINFO).
  std::optional<std::uint32_t> lost() const;
  int fd() const { return fd_; }

 private:
  explicit NetlinkSocket(int fd) : fd_(fd) {}
  Result<Bytes> next_datagram();

  int fd_;
  std::uint32_t sequence_ = 0;
  netlink::Buffer datagram_;
};

}  // namespace weir::tools
