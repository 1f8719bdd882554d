#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::tools::conntrack {

/// "tcp" …, or "unknown" for protocols that ctnetlink has no form of its own for.
std::string_view protocol_name(std::uint8_t protocol);
/// By name or number; also names of /etc/protocols.
std::optional<std::uint8_t> protocol_number(const std::string& name);
/// "ipv4", "ipv6" or "unknown".
std::string_view family_name(std::uint8_t family);

/// The states' names, by number (enum tcp_conntrack and its like).
std::span<const std::string_view> tcp_states();
std::span<const std::string_view> sctp_states();
std::span<const std::string_view> dccp_states();
std::span<const std::string_view> dccp_roles();
/// The first name ("NONE") for a number that has none.
std::string_view name_in(std::span<const std::string_view> names, std::uint8_t number);
std::optional<std::uint8_t> number_in(std::span<const std::string_view> names, std::string_view name);

}  // namespace weir::tools::conntrack
