#pragma once

#include <cstdint>
#include <functional>

#include "base/error.h"
#include "netlink/message.h"

namespace weir::tools {

/// A tool's nfnetlink socket: a plain NETLINK_NETFILTER socket, so it reaches the kernel, or the
/// engine when the process runs under `weir exec`.
class NetlinkSocket {
 public:
  static Result<NetlinkSocket> open();
  NetlinkSocket(NetlinkSocket&& other) noexcept;
  NetlinkSocket& operator=(NetlinkSocket&&) = delete;
  ~NetlinkSocket();

  /// Sends a request for a dump and gives each message of the answer to `each`.
  Result<void> dump(std::uint8_t subsystem, std::uint8_t number,
                    const std::function<void(const netlink::Message&)>& each);

 private:
  explicit NetlinkSocket(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace weir::tools
