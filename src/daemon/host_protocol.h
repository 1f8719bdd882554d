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
  std::uint8_t has_failed = 0;  // finish().
  std::uint32_t ifindex = 0;
  std::array<std::uint8_t, 16> address{};
  std::array<char, 16> device{};
};

/// Answers every call but ask_neighbour. Its descriptors come with it, in the order of their kinds;
/// what doesn't fit into one message follows in others, each with one byte.
struct HostReply {
  std::int32_t error = 0;  // An errno; then `text` says more.
  std::uint32_t ifindex = 0;
  std::uint32_t tap_ifindex = 0;
  std::uint8_t is_native = 0;
  std::array<std::uint8_t, kHandleKinds> counts{};
  std::array<char, 16> driver{};
  std::array<char, 512> text{};
};

/// False when the other side is gone.
bool send_request(int socket, const HostRequest& request, bool waits = true);
bool send_reply(int socket, const HostReply& reply, std::span<const int> descriptors);

/// Nothing when the other side is gone or says something else than was agreed.
std::optional<HostRequest> receive_request(int socket);
std::optional<HostReply> receive_reply(int socket, std::vector<FileDescriptor>& descriptors);

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
