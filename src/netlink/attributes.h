#pragma once

#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/endian.h"
#include "base/error.h"

namespace weir::netlink {

class Attribute;

/// Bytes that hold attributes side by side, and where they begin, counted from the nlmsghdr of
/// their message. Iterating yields each attribute, without allocation; it stops at the first one
/// that does not fit, as the kernel's nla_for_each_attr. Borrows the message.
class Region {
 public:
  class Iterator;

  Region() = default;
  Region(Bytes bytes, std::uint32_t offset) : bytes_(bytes), offset_(offset) {}

  Bytes bytes() const { return bytes_; }
  std::uint32_t offset() const { return offset_; }
  bool empty() const { return bytes_.empty(); }

  inline Iterator begin() const;
  inline std::size_t end() const { return 0; }

 private:
  Bytes bytes_;
  std::uint32_t offset_ = 0;
};

/// One attribute of a message: type, payload, and where its nlattr begins. The integer getters read
/// as many bytes as they need and give zero when the payload is shorter, so they are safe on
/// attributes that no rule has checked. A default-made Attribute is "absent" and tests false.
class Attribute {
 public:
  Attribute() = default;
  Attribute(std::uint16_t raw_type, Bytes payload, std::uint32_t offset)
      : payload_(payload), offset_(offset), raw_type_(raw_type), is_present_(true) {}

  explicit operator bool() const { return is_present_; }

  /// The type without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
  std::uint16_t type() const { return raw_type_ & NLA_TYPE_MASK; }
  bool has_nested_flag() const { return raw_type_ & NLA_F_NESTED; }
  Bytes payload() const { return payload_; }
  /// Of the nlattr, from the start of the message's nlmsghdr.
  std::uint32_t offset() const { return offset_; }

  std::uint8_t u8() const { return read<std::uint8_t>(); }
  /// In the byte order of the machine, which few attributes of netfilter are.
  std::uint16_t u16() const { return read<std::uint16_t>(); }
  std::uint32_t u32() const { return read<std::uint32_t>(); }
  std::uint64_t u64() const { return read<std::uint64_t>(); }
  Be16 be16() const { return {read<std::uint16_t>()}; }
  Be32 be32() const { return {read<std::uint32_t>()}; }
  Be64 be64() const { return {read<std::uint64_t>()}; }
  /// The payload up to its first NUL.
  std::string_view string() const;
  /// The payload as attributes.
  Region nested() const { return {payload_, offset_ + kHeaderBytes}; }

  /// An Error that blames this attribute: nft puts its caret there.
  Error error(int code, std::string_view text) const;

  static constexpr std::uint32_t kHeaderBytes = 4;

 private:
  template <typename T>
  T read() const {
    return payload_.size() < sizeof(T) ? T{} : load<T>(payload_.data());
  }

  Bytes payload_;
  std::uint32_t offset_ = 0;
  std::uint16_t raw_type_ = 0;
  bool is_present_ = false;
};

class Region::Iterator {
 public:
  Iterator(Bytes rest, std::uint32_t offset) : rest_(rest), offset_(offset) { read(); }

  const Attribute& operator*() const { return attribute_; }
  const Attribute* operator->() const { return &attribute_; }
  Iterator& operator++();
  bool operator==(std::size_t) const { return !attribute_; }

 private:
  void read();

  Bytes rest_;
  std::uint32_t offset_;
  Attribute attribute_;
};

inline Region::Iterator Region::begin() const { return {bytes_, offset_}; }

/// What an attribute's payload must be. Lengths are checked as liberally as the kernel does for
/// nfnetlink (NL_VALIDATE_LIBERAL): an integer may be longer than its kind, never shorter.
enum class Kind : std::uint8_t {
  any,         ///< Anything of at least min_bytes (NLA_UNSPEC).
  flag,        ///< Empty: its presence is the information.
  u8,          ///< At least 1 byte.
  u16,         ///< At least 2 bytes, whatever the byte order.
  u32,         ///< At least 4 bytes.
  u64,         ///< At least 8 bytes.
  string,      ///< 1..max_bytes characters, with or without a NUL at the end (NLA_STRING).
  nul_string,  ///< The same, but a NUL must be there (NLA_NUL_STRING).
  binary,      ///< At most max_bytes (NLA_BINARY).
  nested,      ///< Empty, or long enough for an attribute (NLA_NESTED).
};

/// One line of a schema. A schema is a constexpr array of these, declared beside its handler:
///
///     constexpr netlink::Rule kRequest[] = {
///         {.type = CTA_TUPLE_ORIG, .kind = netlink::Kind::nested, .required = true},
///         {.type = CTA_ZONE, .kind = netlink::Kind::u16},
///     };
struct Rule {
  std::uint16_t type = 0;
  Kind kind = Kind::any;
  bool required = false;
  /// Shortest payload for `any`; zero: none.
  std::uint32_t min_bytes = 0;
  /// Longest payload for string, nul_string (without the NUL) and binary; zero: none.
  std::uint32_t max_bytes = 0;
  /// Greatest value of a big-endian (or one byte) integer (NLA_POLICY_MAX); zero: none.
  std::uint64_t max_value = 0;
  /// The only bits that a big-endian (or one byte) integer may have (NLA_POLICY_MASK); zero: none.
  std::uint64_t mask = 0;
};

/// The attributes of a region, found by type and checked against a schema. Attributes that the
/// schema doesn't name are ignored; of one that comes twice the last counts (both as the kernel's
/// nla_parse). Absent attributes read as zero or empty: ask has() where that differs. Borrows the
/// message.
class Attributes {
 public:
  /// Types from this on can't be named in a schema.
  static constexpr std::uint16_t kMaxTypes = 64;

  /// Errors: ERANGE for a payload of a wrong length or value, EINVAL for a string without its NUL,
  /// reserved bits, or an absent required attribute; each with the text and offset that the
  /// kernel's extended ack carries (NLMSGERR_ATTR_MISS_TYPE and _NEST for an absent one).
  static Result<Attributes> parse(Region region, std::span<const Rule> rules);

  bool has(std::uint16_t type) const { return offset_[type] != kAbsent; }
  /// The attribute, or one that tests false.
  Attribute find(std::uint16_t type) const;

  /// The payload; empty when absent.
  Bytes raw(std::uint16_t type) const { return find(type).payload(); }
  std::uint8_t u8(std::uint16_t type) const { return find(type).u8(); }
  std::uint16_t u16(std::uint16_t type) const { return find(type).u16(); }
  std::uint32_t u32(std::uint16_t type) const { return find(type).u32(); }
  std::uint64_t u64(std::uint16_t type) const { return find(type).u64(); }
  Be16 be16(std::uint16_t type) const { return find(type).be16(); }
  Be32 be32(std::uint16_t type) const { return find(type).be32(); }
  Be64 be64(std::uint16_t type) const { return find(type).be64(); }
  std::string_view string(std::uint16_t type) const { return find(type).string(); }
  Region nested(std::uint16_t type) const { return find(type).nested(); }

  /// An Error that blames the attribute `type`, or nothing in particular when it is absent.
  Error error(std::uint16_t type, int code, std::string_view text) const {
    return find(type).error(code, text);
  }
  /// An Error that says that `type`, which this request needs, is missing.
  Error missing(std::uint16_t type) const;

 private:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};

  explicit Attributes(Region region) : region_(region) { offset_.fill(kAbsent); }

  Region region_;
  std::array<std::uint32_t, kMaxTypes> offset_;  ///< Within region_.
};

}  // namespace weir::netlink
