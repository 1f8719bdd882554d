#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace weir {

/// Why a request or a system call failed. `code` is an errno value; `text` says what happened and
/// what a person can do; `offset` is, for netlink requests, where in the message the offending
/// attribute begins (bytes from the start of its nlmsghdr), zero when no attribute is to blame.
/// `missing` is the type of a required attribute that a netlink request lacks, zero when none does;
/// `offset` is then the attribute that it should be nested in.
struct Error {
  int code = 0;
  std::string text;
  std::uint32_t offset = 0;
  std::uint16_t missing = 0;
};

/// The answer of anything that can be refused: a bad request or a failing system call. A bad packet
/// is never an Error but a verdict; a bug of ours is an assertion.
template <typename T>
using Result = std::expected<T, Error>;

/// The Error of the system call that has just failed: errno and its meaning after `what`.
Error system_error(const std::string& what);

}  // namespace weir
