#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "tests/support/packet_text.h"

namespace weir::test {

using ByteString = std::vector<std::uint8_t>;

/// Builds the datagram, from its IP header on. What isn't written gets its ordinary value, lengths
/// and checksums the right ones. Fails on a value that can't be read or a variable that isn't
/// bound.
Result<ByteString> encode(const Packet& packet, const Variables& variables);

/// Reads a datagram into layers with every field that a scenario can name. Wrong checksums show as
/// the flag "badsum", missing bytes as `cut_bytes`. `is_quote` says that it may end early because
/// an ICMP error quotes it.
Packet decode(Bytes datagram, bool is_quote = false);

/// Compares one value: text, a number, "*", or a variable, which is bound when it isn't yet and its
/// range ("$port:1024-2047") allows the value.
bool match_value(const std::string& expected, const std::string& actual, Variables& variables);

/// Compares what came out with a description in which only the written fields count. Binds
/// variables. Answers with the first difference, or nothing.
std::optional<std::string> match(const Packet& expected, const Packet& actual,
                                 Variables& variables);

/// Compares every byte; variables that aren't bound yet are taken from the actual packet first.
/// With `prefix`, `actual` may end early (but not before eight bytes of the transport header).
std::optional<std::string> match_exactly(const Packet& expected, Bytes actual, bool prefix,
                                         Variables& variables);

/// Whether a frame (from its Ethernet header on) is what a kernel sends unasked: ARP, neighbour
/// discovery, multicast listener reports.
bool is_noise(Bytes frame);

}  // namespace weir::test
