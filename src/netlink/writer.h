#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/endian.h"
#include "netlink/message.h"

namespace weir::netlink {

/// Appends messages with nested attributes to a buffer. Lengths are patched when a message or a
/// nest ends. The buffer belongs to the caller and must outlive the writer; nobody else may append
/// to it between begin() and end().
///
///     writer.begin({.type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, .family = AF_INET});
///     {
///       auto tuple = writer.nest(CTA_TUPLE_ORIG);
///       writer.put_be32(CTA_MARK, Be32::from_host(7));
///     }
///     writer.end();
class Writer {
 public:
  /// The header of a message: nlmsghdr and nfgenmsg.
  struct Start {
    std::uint16_t type = 0;
    std::uint16_t flags = 0;
    std::uint32_t sequence = 0;
    std::uint32_t port_id = 0;
    std::uint8_t family = 0;
    std::uint8_t version = NFNETLINK_V0;
    std::uint16_t resource_id = 0;  ///< In host order.
  };

  /// A nest that is open while this lives.
  class Nest {
   public:
    Nest(Writer& writer, std::size_t at) : writer_(&writer), at_(at) {}
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;
    ~Nest() {
      if (writer_) writer_->close_nest(at_);
    }
    /// Takes the nest and all in it back out of the message.
    void cancel();

   private:
    Writer* writer_;
    std::size_t at_;
  };

  explicit Writer(Buffer& out) : out_(&out) {}

  void begin(const Start& start);
  /// Patches the length; the message is complete.
  void end();
  /// Drops the message that begin() started.
  void cancel();
  /// Bytes of the message so far.
  std::size_t size() const { return out_->size() - message_; }

  /// Opens a nest with NLA_F_NESTED set (the kernel's nla_nest_start), as ctnetlink sends them.
  [[nodiscard]] Nest nest(std::uint16_t type);
  /// Opens a nest without the flag (nla_nest_start_noflag), as nf_tables sends nearly all of its.
  [[nodiscard]] Nest nest_plain(std::uint16_t type);

  void put(std::uint16_t type, Bytes payload);
  void put_u8(std::uint16_t type, std::uint8_t value) { put(type, as_bytes(value)); }
  /// In the byte order of the machine.
  void put_u16(std::uint16_t type, std::uint16_t value) { put(type, as_bytes(value)); }
  void put_u32(std::uint16_t type, std::uint32_t value) { put(type, as_bytes(value)); }
  void put_be16(std::uint16_t type, Be16 value) { put(type, as_bytes(value)); }
  void put_be32(std::uint16_t type, Be32 value) { put(type, as_bytes(value)); }
  void put_be64(std::uint16_t type, Be64 value) { put(type, as_bytes(value)); }
  /// Numbers of the host, sent in network order.
  void put_be16(std::uint16_t type, std::uint16_t host) { put_be16(type, Be16::from_host(host)); }
  void put_be32(std::uint16_t type, std::uint32_t host) { put_be32(type, Be32::from_host(host)); }
  void put_be64(std::uint16_t type, std::uint64_t host) { put_be64(type, Be64::from_host(host)); }
  /// With its NUL, as nla_put_string.
  void put_string(std::uint16_t type, std::string_view text);
  void put_flag(std::uint16_t type) { put(type, {}); }

 private:
  std::size_t open_nest(std::uint16_t type);
  void close_nest(std::size_t at);

  Buffer* out_;
  std::size_t message_ = 0;  ///< Where the message under construction begins.
};

}  // namespace weir::netlink
