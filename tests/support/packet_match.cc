#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "tests/support/packet_bytes.h"

namespace weir::test {

namespace {

/// A number or an address in a form that compares in order.
std::string sortable(const std::string& text) {
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
      inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  return fmt::format("{:>20}", text);
}

bool is_within(const std::string& range, const std::string& actual) {
  const std::size_t dash = range.find('-');
  const std::string low = sortable(range.substr(0, dash));
  const std::string high = sortable(dash == std::string::npos ? range : range.substr(dash + 1));
  return low <= sortable(actual) && sortable(actual) <= high;
}

bool is_same_value(const std::string& expected, const std::string& actual) {
  if (expected == actual) return true;
  if (expected.starts_with("0x")) {
    std::uint64_t number = 0;
    std::from_chars(expected.data() + 2, expected.data() + expected.size(), number, 16);
    return std::to_string(number) == actual;
  }
  return sortable(expected) == sortable(actual) ||
         (expected.find_first_not_of("FSRPAUEC") == std::string::npos &&
          std::is_permutation(expected.begin(), expected.end(), actual.begin(), actual.end()));
}

}  // namespace

bool match_value(const std::string& expected, const std::string& actual, Variables& variables) {
  if (expected == "*") return true;
  if (!expected.starts_with('$')) return is_same_value(expected, actual);
  const std::size_t colon = expected.find(':');
  const std::string name = expected.substr(1, colon - 1);
  if (const auto bound = variables.find(name); bound != variables.end()) {
    return is_same_value(bound->second, actual);
  }
  if (colon != std::string::npos && !is_within(expected.substr(colon + 1), actual)) return false;
  variables[name] = actual;
  return true;
}

namespace {

/// The layers of `actual` that carry no header are compared only when the description has data.
bool is_free_tail(const Packet& expected, const Packet& actual) {
  const std::size_t count = expected.layers.size();
  return actual.layers.size() == count ||
         (actual.layers.size() == count + 1 && actual.layers.back().kind == "data");
}

std::optional<std::string> match_layer(const Layer& expected, const Layer& actual,
                                       Variables& variables) {
  if (expected.kind != actual.kind) {
    return fmt::format("has {} where {} was expected", actual.kind, expected.kind);
  }
  const bool is_stub = actual.kind == "tcp" && !actual.has("flags");  // Of a short quote.
  for (const Field& field : expected.fields) {
    const std::string* const value = actual.find(field.name);
    if (value == nullptr && is_stub) continue;
    if (value == nullptr) return fmt::format("{} has no {}", expected.kind, field.name);
    if (!match_value(field.value, *value, variables)) {
      return fmt::format("{} {} is {}, expected {}", expected.kind, field.name,
                         value->empty() ? "set" : *value, field.value);
    }
  }
  for (const std::string_view flag : {"badsum", "mf", "nosum"}) {
    if (actual.has(flag) && !expected.has(flag)) {
      return fmt::format("{} has {}", expected.kind, flag);
    }
  }
  return std::nullopt;
}

/// Gives variables that aren't bound yet the values of the actual packet's fields.
void bind_from(const Packet& expected, const Packet& actual, Variables& variables) {
  for (const Layer& layer : expected.layers) {
    const Layer* const other = actual.layer(layer.kind);
    if (other == nullptr) continue;
    for (const Field& field : layer.fields) {
      const std::string* const value = other->find(field.name);
      if (field.value.starts_with('$') && value != nullptr) {
        match_value(field.value, *value, variables);
      }
    }
  }
  const Layer* const fragment = actual.layer("frag");
  if (expected.piece && expected.piece->id.starts_with('$') && fragment != nullptr) {
    match_value(expected.piece->id, *fragment->find("id"), variables);
  }
  if (!expected.quote.empty() && !actual.quote.empty()) {
    bind_from(expected.quote[0], actual.quote[0], variables);
  }
}

/// Says in words where two datagrams differ, or at which byte.
std::string difference(Bytes expected, Bytes actual) {
  const Packet wanted = decode(expected);
  const Packet got = decode(actual);
  Variables none;
  for (std::size_t i = 0; i < std::min(wanted.layers.size(), got.layers.size()); ++i) {
    if (auto text = match_layer(wanted.layers[i], got.layers[i], none)) return *text;
  }
  std::size_t at = 0;
  while (at < std::min(expected.size(), actual.size()) && expected[at] == actual[at]) ++at;
  return fmt::format("differs at byte {} of {} (expected {} bytes)", at, actual.size(),
                     expected.size());
}

}  // namespace

std::optional<std::string> match(const Packet& expected, const Packet& actual,
                                 Variables& variables) {
  for (std::size_t i = 0; i < expected.layers.size(); ++i) {
    if (i == actual.layers.size()) return fmt::format("has no {}", expected.layers[i].kind);
    if (auto text = match_layer(expected.layers[i], actual.layers[i], variables)) return text;
  }
  if (!is_free_tail(expected, actual)) {
    return fmt::format("has another layer: {}", actual.layers[expected.layers.size()].kind);
  }
  if (actual.cut_bytes != 0) return fmt::format("lacks {} bytes", actual.cut_bytes);
  if (expected.quote.empty()) return std::nullopt;
  if (actual.quote.empty()) return "quotes nothing";
  if (auto text = match(expected.quote[0], actual.quote[0], variables)) return "quote: " + *text;
  return std::nullopt;
}

std::optional<std::string> match_exactly(const Packet& expected, Bytes actual, bool prefix,
                                         Variables& variables) {
  bind_from(expected, decode(actual, prefix), variables);
  const Result<ByteString> bytes = encode(expected, variables);
  if (!bytes) return bytes.error().text;
  Bytes wanted(*bytes);
  if (prefix) {
    const std::size_t header = wanted[0] >> 4 == 4 ? (wanted[0] & 15) * 4 : 40;
    if (actual.size() < header + 8) return "the quote is too short";
    wanted = wanted.first(std::min(wanted.size(), actual.size()));
  }
  if (std::ranges::equal(wanted, actual)) return std::nullopt;
  return difference(wanted, actual);
}

}  // namespace weir::test
