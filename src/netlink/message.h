#pragma once

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "netlink/attributes.h"

namespace weir::netlink {

/// A buffer of messages under construction.
using Buffer = std::vector<std::uint8_t>;

/// One netlink message inside a datagram. Borrows the datagram's bytes.
class Message {
 public:
  static constexpr std::uint32_t kHeaderBytes = 16;  ///< nlmsghdr
  static constexpr std::uint32_t kFamilyBytes = 4;   ///< nfgenmsg

  /// Takes the message at the front of `datagram` off it. Nothing when what is left is no message:
  /// shorter than a header, or a length that is too small or runs past the end.
  static std::optional<Message> take(Bytes& datagram);

  const nlmsghdr& header() const { return header_; }
  std::uint16_t flags() const { return header_.nlmsg_flags; }
  std::uint32_t sequence() const { return header_.nlmsg_seq; }

  /// NFNL_SUBSYS_* and the subsystem's own message number.
  std::uint8_t subsystem() const { return static_cast<std::uint8_t>(header_.nlmsg_type >> 8); }
  std::uint8_t number() const { return static_cast<std::uint8_t>(header_.nlmsg_type); }

  /// Whether an nfgenmsg follows the header; family() and attributes() are empty otherwise.
  bool has_family() const { return bytes_.size() >= kHeaderBytes + kFamilyBytes; }
  nfgenmsg family() const;
  /// nfgenmsg's res_id as a number.
  std::uint16_t resource_id() const;

  /// What follows the nfgenmsg.
  Region attributes() const;
  /// The whole message, header included.
  Bytes bytes() const { return bytes_; }

 private:
  Message(const nlmsghdr& header, Bytes bytes) : header_(header), bytes_(bytes) {}

  nlmsghdr header_;
  Bytes bytes_;
};

/// NLMSGERR_ATTR_MISS_TYPE and NLMSGERR_ATTR_MISS_NEST, which older UAPI headers lack (Linux 6.1).
inline constexpr std::uint16_t kErrorMissingType = 5;
inline constexpr std::uint16_t kErrorMissingNest = 6;

/// The length of a message or attribute with its padding.
constexpr std::uint32_t align(std::uint32_t bytes) { return (bytes + 3) & ~std::uint32_t{3}; }

/// How a socket wants its acks (NETLINK_CAP_ACK, NETLINK_EXT_ACK).
struct AckOptions {
  bool capped = false;
  bool extended = false;
  std::uint32_t port_id = 0;  ///< Of the socket that gets it.
};

/// Appends the NLMSG_ERROR that answers `request`: an ack when `error.code` is zero. As the
/// kernel's netlink_ack: a failure carries the request back unless the socket caps it, and the text
/// and the offset when the socket asked for extended acks.
void append_ack(Buffer& out, const Message& request, const Error& error, const AckOptions& options);

/// Appends the NLMSG_DONE that ends a dump. `status` is zero or a negative errno.
void append_done(Buffer& out, std::uint32_t sequence, int status, std::uint16_t extra_flags,
                 std::uint32_t port_id);

}  // namespace weir::netlink
