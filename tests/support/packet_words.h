#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::test {

/// The vocabulary of packet descriptions: which layers there are and which fields each has.
bool is_layer(std::string_view word);
bool is_field(std::string_view layer, std::string_view word);
/// A field without a value.
bool is_flag(std::string_view layer, std::string_view word);
bool is_any_flag(std::string_view word);

/// The number of a type's name ("echo", "init"); other words are handed back as they are. `layer`
/// is icmp, icmp6, chunk or dccp.
std::string type_number(std::string_view layer, const std::string& word);

/// Whether that type of message quotes the packet that it is about.
bool is_icmp_error(std::string_view layer, unsigned type);

std::string text_to_hex(std::string_view text);

}  // namespace weir::test
