#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "control/server/server_fixture.h"
#include "netlink/message.h"
#include "preload/protocol.h"

/// For tests: conversations of unmodified tools with the kernel (tests/golden, made by
/// tests/golden/record), held again with the engine.
namespace weir::control::testing {

struct RecordedLine {
  std::uint32_t socket = 0;
  std::string what;  ///< socket, bind, option, > or <; or '!' with `text`.
  std::string text;
  std::uint32_t number = 0;  ///< Of an option.
  netlink::Buffer bytes;
};

/// Reads a file of tests/golden.
std::vector<RecordedLine> read_recording(const std::string& name);

/// A netlink socket as the preload library has one, without a tool behind it.
class RawSocket {
 public:
  explicit RawSocket(const std::string& path);
  void bind(std::uint32_t groups);
  void set_option(std::uint32_t number, const netlink::Buffer& value);
  void send(const netlink::Buffer& datagram);
  /// All datagrams that have come or are due, one after the other.
  netlink::Buffer receive();

 private:
  weir_answer call(const weir_call& call, Bytes payload, netlink::Buffer& answer);
  void take(int from, void* into, std::size_t bytes) const;

  FileDescriptor control_;
  FileDescriptor data_;
  std::uint32_t frames_ = 0;
};

/// Holds the conversation with the server at `path` and expects what the kernel answered on every
/// socket, byte for byte but for what chance decides (port ids, processes, times, ids of
/// connections, the order of hashes) and for texts that are everyone's own. `act` does what a line
/// '!' says. Returns how many messages were compared.
std::size_t replay(const std::vector<RecordedLine>& lines, const std::string& path,
                   const std::function<void(const std::string&)>& act);

}  // namespace weir::control::testing
