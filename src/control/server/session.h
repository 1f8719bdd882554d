#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "control/server/access.h"
#include "control/server/dump_run.h"
#include "control/server/event_filters.h"
#include "control/server/listener.h"
#include "control/server/socket_filter.h"
#include "netlink/message.h"

namespace weir::control {

/// The host's bounds for what an ordinary user may ask for by SO_RCVBUF and SO_SNDBUF.
struct BufferLimits {
  std::uint32_t receive = 212992;  ///< net.core.rmem_max
  std::uint32_t send = 212992;     ///< net.core.wmem_max
};

/// One netlink socket of a tool: its options, groups and port id, and what waits for it to be read.
///
/// What it is sent goes as frames (preload/protocol.h) to the data connection, and what that
/// doesn't take at once is kept here. A tool that doesn't read fills its receive buffer, as the
/// kernel counts one: what lies in the connection and here together. Beyond SO_RCVBUF datagrams are
/// lost and counted, and the reader is told ENOBUFS where the loss began; only when it has read
/// everything else does it get new ones (the kernel's netlink_overrun and NETLINK_S_CONGESTED).
/// Dumps are not lost but wait for the reader. Nothing here ever blocks.
///
/// Belongs to the server; used on the control thread only.
class Session {
 public:
  struct Identity {
    std::uint32_t number = 0;
    std::uint64_t secret = 0;  ///< What proves a data connection to belong to this session.
    Peer peer;
    Rights rights;
    std::uint32_t process_id = 0;  ///< As the tool sees itself: the first choice for a port id.
    int socket_type = 0;
  };

  enum class Delivery { queued, filtered, lost };

  Session(const Identity& identity, const BufferLimits& limits);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Identity& identity() const { return identity_; }
  std::uint32_t port_id() const { return port_id_; }  ///< Zero until bound.
  void set_port_id(std::uint32_t port_id) { port_id_ = port_id; }

  /// Groups as bits: group g is bit g - 1.
  std::uint64_t groups() const { return groups_; }
  void set_groups(std::uint64_t groups) { groups_ = groups; }
  bool is_member(std::uint32_t group) const { return group && groups_ >> (group - 1) & 1; }
  const EventFilters& event_filters() const { return event_filters_; }
  Result<void> set_event_filter(Bytes value) { return event_filters_.set(value); }

  netlink::AckOptions ack_options() const {
    return {.capped = caps_acks_, .extended = extends_acks_, .port_id = port_id_};
  }
  bool wants_broadcast_errors() const { return wants_broadcast_errors_; }
  std::uint32_t send_buffer_bytes() const { return send_buffer_; }
  std::uint64_t lost() const { return lost_; }

  /// setsockopt and getsockopt. Errors carry what the system call fails with. getsockopt's value is
  /// appended to `out`, cut to `room`.
  Result<void> set_option(int level, int option, Bytes value);
  Result<void> get_option(int level, int option, std::size_t room, netlink::Buffer& out) const;

  /// Sends a datagram; `group` is zero for a reply. It passes the socket's filter first.
  Delivery deliver(Bytes datagram, std::uint32_t group);

  /// Tells the reader by ENOBUFS that `datagrams` for it were lost on the way here.
  void report_loss(std::uint64_t datagrams);

  /// Starts a dump and sends its beginning. Fails with EBUSY while another one is being read.
  Result<void> start_dump(std::unique_ptr<Dump> dump, const netlink::Message& request);
  bool is_dumping() const { return dump_ != nullptr; }

  /// Takes the connection that frames go to. `epoll` watches it for writability when that matters.
  void attach(FileDescriptor data, int epoll);
  bool is_attached() const { return data_.is_open(); }
  int data() const { return data_.get(); }
  /// Sends on what waits, and goes on with a dump for a bounded while. Called when the connection
  /// can take more.
  void pump();
  /// The reader has gone away.
  bool is_broken() const { return is_broken_; }

  /// Frames queued since the session began, and one more while a dump goes on.
  std::uint32_t frames_due() const { return frames_ + (dump_ ? 1 : 0); }

 private:
  Result<void> set_socket_option(int option, Bytes value);
  Result<void> set_netlink_option(int option, Bytes value);
  Result<void> set_membership(int option, std::uint32_t group);
  Result<void> attach_filter(Bytes value);
  std::optional<std::int64_t> socket_number(int option) const;
  std::optional<std::int64_t> netlink_number(int option) const;
  std::vector<std::uint32_t> memory_information() const;

  void queue(Bytes datagram, std::uint32_t group, std::uint16_t error);
  std::size_t send_now(Bytes header, Bytes datagram);
  void keep(Bytes bytes);
  void flush();
  void continue_dump();
  void update_interest();
  void lose();
  bool has_room();
  std::size_t unread_bytes() const;

  Identity identity_;
  const BufferLimits& limits_;

  std::uint32_t port_id_ = 0;
  std::uint64_t groups_ = 0;
  std::uint32_t receive_buffer_;
  std::uint32_t send_buffer_;
  bool caps_acks_ = false;
  bool extends_acks_ = false;
  bool wants_pktinfo_ = false;
  bool wants_broadcast_errors_ = false;
  bool ignores_overruns_ = false;  ///< NETLINK_NO_ENOBUFS
  bool is_strict_ = false;         ///< NETLINK_GET_STRICT_CHK
  bool is_filter_locked_ = false;
  SocketFilter filter_;
  EventFilters event_filters_;

  FileDescriptor data_;
  int epoll_ = -1;
  bool watches_writable_ = false;
  bool is_broken_ = false;
  netlink::Buffer waiting_;        ///< Frames that the connection hasn't taken.
  std::size_t waiting_begin_ = 0;  ///< Bytes of waiting_ that it has.
  std::size_t charged_ = 0;        ///< At least what is unread; made exact when it matters.
  bool is_congested_ = false;
  std::uint64_t lost_ = 0;
  std::uint32_t frames_ = 0;

  std::unique_ptr<DumpRun> dump_;
};

}  // namespace weir::control
