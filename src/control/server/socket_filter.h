#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace weir::control {

/// A classic BPF program that a tool has attached to its socket (SO_ATTACH_FILTER): conntrack's and
/// conntrackd's event filters. It sees a datagram from its first nlmsghdr on and decides how much
/// of it is delivered. Programs only jump forwards, so a run is at most as long as the program.
class SocketFilter {
 public:
  /// Accepts no filter at all: run() passes everything.
  SocketFilter() = default;

  /// Checks a program as the kernel's bpf_check_classic. Errors: EINVAL.
  static Result<SocketFilter> check(std::span<const sock_filter> program);

  /// How many bytes of the datagram pass; zero drops it.
  std::uint32_t run(Bytes datagram) const;

  bool is_empty() const { return program_.empty(); }

 private:
  explicit SocketFilter(std::span<const sock_filter> program)
      : program_(program.begin(), program.end()) {}

  std::vector<sock_filter> program_;
};

}  // namespace weir::control
