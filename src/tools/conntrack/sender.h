#pragma once

#include <cstdint>
#include <string>

namespace weir::tools::conntrack {

/// What conntrack(8) puts behind an event that a program has caused: " [USERSPACE] portid=N", and
/// the program's name where /proc knows the socket.
std::string name_of_sender(std::uint32_t port_id);

}  // namespace weir::tools::conntrack
