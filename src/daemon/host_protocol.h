#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "daemon/host.h"

/// What goes between engine and privileged process: one fixed structure each way, over a
/// SOCK_SEQPACKET pair. Each side drops what hasn't exactly its size, and checks each number that
/// it uses. Texts end with zero.
namespace weir::daemon {

enum class HostCall : std::uint32_t {
  open_port = 1,
  close_port,
  ask_neighbour,
  open_file,
  reload,
  finish,
};

struct HostRequest {
  HostCall call = HostCall::finish;
  std::uint16_t port = 0;
  std::uint8_t file = 0;        // A HostFile.
  std::uint8_t family = 0;      // Of a neighbour; AF_INET or AF_INET6.
  std::uint8_t has_failed = 0;  // Host::End.
  std::uint8_t owns_socket = 0;
  std::uint8_t leaves = 0;
  std::uint32_t ifindex = 0;
  std::array<std::uint8_t, 16> address{};
  std::array<char, 16> device{};
};

/// What descriptors a reply brings, in this order; how many of each it says.
enum class HandleKind : std::uint8_t {
  packet,
  tap,
  xdp_link,
  xdp_program,
  xdp_socket,
  live_slots,
  live_control,
  sender,
  heartbeat,
  file,
  xdp_memory,
};
inline constexpr std::size_t kHandleKinds = 11;
using Handles = std::array<std::vector<FileDescriptor>, kHandleKinds>;

inline std::vector<FileDescriptor>& of(Handles& handles, HandleKind kind) {
  return handles[static_cast<std::size_t>(kind)];
}

/// Answers every call but ask_neighbour. Its descriptors come with it; what doesn't fit into one
/// message follows in others, each with one byte.
struct HostReply {
  std::int32_t error = 0;  // An errno; then `text` says more.
  // Of an open port, as io::WirePort and io::XdpDescriptors have it.
  std::uint32_t ifindex = 0;
  std::uint32_t tap_ifindex = 0;
  std::uint8_t driver = 0;
  std::uint8_t transmit = 0;
  std::uint8_t is_native = 0;
  std::array<std::uint8_t, kHandleKinds> counts{};
  std::array<char, 512> text{};  // Of an open port: why the driver,
  std::array<char, 512> more{};  // and why the way to transmit.
};

/// False when the other side is gone.
bool send_request(int socket, const HostRequest& request, bool waits = true);
bool send_reply(int socket, HostReply reply, const Handles& handles);

/// Nothing when the other side is gone or says something else than was agreed.
std::optional<HostRequest> receive_request(int socket);
std::optional<HostReply> receive_reply(int socket, Handles& handles);

/// An open port as a reply, and back. Errors: EPROTO for numbers that mean nothing.
HostReply describe_port(PortHandles port, Handles& handles);
Result<PortHandles> read_port(const HostReply& reply, Handles handles);

/// Puts a text into an array, cut to its room.
template <std::size_t Size>
void put_text(std::array<char, Size>& into, std::string_view text) {
  into = {};
  text.copy(into.data(), Size - 1);
}

/// Sends one message with descriptors; also for other pairs of weir's processes.
bool send_message(int socket, std::span<const std::uint8_t> bytes, std::span<const int> descriptors,
                  int flags = 0);
/// Receives one message of at most `bytes`; its size, or nothing when the other side is gone.
std::optional<std::size_t> receive_message(int socket, std::span<std::uint8_t> bytes,
                                           std::vector<FileDescriptor>& descriptors, int flags = 0);

/// A connected SOCK_SEQPACKET pair.
Result<std::array<FileDescriptor, 2>> make_pair_of_sockets();

}  // namespace weir::daemon
