#pragma once

#include <cstdint>
#include <optional>

#include "control/server/access.h"
#include "control/server/listener.h"
#include "netlink/message.h"
#include "preload/protocol.h"

namespace weir::control {

class Session;

/// One accepted connection of a preload library, and the calls that arrive on it. It becomes a
/// session's control connection by its first call, or is handed over as a data connection.
class Connection {
 public:
  enum class Input {
    call,     ///< call() and payload() hold one; answer it.
    nothing,  ///< Not all of it is here yet.
    closed,   ///< The peer has gone, or talks nonsense.
  };

  Connection(FileDescriptor socket, Credentials credentials)
      : socket_(std::move(socket)), credentials_(std::move(credentials)) {}

  int socket() const { return socket_.get(); }
  FileDescriptor take_socket() { return std::move(socket_); }
  const Credentials& credentials() const { return credentials_; }

  Session* session() const { return session_; }
  void set_session(Session* session) { session_ = session; }

  /// Reads the next call, without waiting. A call whose payload is beyond what the session may send
  /// is read away and given with is_oversized().
  Input read();
  const weir_call& call() const { return call_; }
  Bytes payload() const { return payload_; }
  bool is_oversized() const { return is_oversized_; }

  /// Answers the call that read() gave. False when the peer does not take it: it has gone, or
  /// floods us with calls whose answers it doesn't read.
  bool answer(const weir_answer& answer, Bytes payload);

 private:
  std::size_t payload_limit() const;
  std::optional<Input> read_header();
  std::optional<Input> read_payload();
  std::ptrdiff_t receive(std::uint8_t* into, std::size_t bytes);
  void start_payload();

  FileDescriptor socket_;
  Credentials credentials_;
  Session* session_ = nullptr;

  weir_call call_{};
  std::size_t header_bytes_ = 0;   ///< Of call_ that have come.
  std::size_t payload_bytes_ = 0;  ///< Of the payload that have come.
  netlink::Buffer payload_;
  bool is_oversized_ = false;
};

}  // namespace weir::control
