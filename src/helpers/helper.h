#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "nat/expected.h"
#include "nat/findings.h"
#include "wire/address.h"

namespace weir::helpers {

/// What understands one protocol well enough to foresee its further connections. A helper finds,
/// NAT rewrites: inspect() is a pure function of a payload and what is remembered of its
/// connection. It runs on the packet's path, on hostile input, under no lock: bounded, no
/// allocation, no clock.
///
/// Adding one: its file here, a line in list.cc.
class Helper {
 public:
  virtual ~Helper() = default;

  /// As netfilter's tools name it ("ftp").
  virtual std::string_view name() const = 0;
  /// The transport protocol of the connections that it understands, in IPv4 and IPv6 alike.
  virtual std::uint8_t protocol() const = 0;
  /// Of its expectations, by class; at least one, at most Extension::kClasses.
  virtual std::span<const nat::ExpectationPolicy> policies() const = 0;

  virtual nat::Findings inspect(const nat::Payload& payload) const = 0;

  /// What a connection remembers that somebody else has made known (ctnetlink): another engine has
  /// seen its beginning, so the helper takes it as it comes.
  virtual conntrack::Extension::HelperState picked_up() const { return {}; }
};

}  // namespace weir::helpers
