#include "wire/address.h"

#include <arpa/inet.h>

#include <charconv>

namespace weir::wire {
namespace {

/// Zeroes every bit of `address` from bit `length` on.
void clear_host_bits(Address& address, unsigned length) {
  for (unsigned i = 0; i < address.bytes.size(); ++i) {
    const unsigned first_bit = i * 8;
    if (first_bit >= length) {
      address.bytes[i] = 0;
    } else if (first_bit + 8 > length) {
      address.bytes[i] &= static_cast<std::uint8_t>(0xff << (first_bit + 8 - length));
    }
  }
}

}  // namespace

std::string to_string(const Address& address, Family family) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family == Family::ip ? AF_INET : AF_INET6, address.bytes.data(), text, sizeof text);
  return text;
}

std::optional<FamilyAddress> parse_address(std::string_view text) {
  const std::string copy(text);
  FamilyAddress result;
  if (inet_pton(AF_INET, copy.c_str(), result.address.bytes.data()) == 1) {
    result.family = Family::ip;
    return result;
  }
  result.address = {};
  if (inet_pton(AF_INET6, copy.c_str(), result.address.bytes.data()) == 1) {
    result.family = Family::ip6;
    return result;
  }
  return std::nullopt;
}

bool Prefix::contains(Family f, const Address& other) const {
  if (f != family) return false;
  Address masked = other;
  clear_host_bits(masked, length);
  return masked == address;
}

std::optional<Prefix> parse_prefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return std::nullopt;

  unsigned length = static_cast<unsigned>(address_bytes(address->family) * 8);
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    unsigned given = 0;
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), given);
    if (error != std::errc() || end != digits.end() || given > length) return std::nullopt;
    length = given;
  }
  Prefix prefix{address->family, address->address, static_cast<std::uint8_t>(length)};
  clear_host_bits(prefix.address, length);
  return prefix;
}

}  // namespace weir::wire
