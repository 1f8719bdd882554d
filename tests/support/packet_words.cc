#include "tests/support/packet_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

namespace weir::test {

namespace {

struct Vocabulary {
  std::string_view layer;
  std::string_view fields;  // Words between spaces, with one at either end.
  std::string_view flags;
};

constexpr std::array kVocabulary = {
    Vocabulary{"ip", " src dst ttl tos id off proto len ihl version opts ", " df mf evil badsum "},
    Vocabulary{"ip6", " src dst hlim tc flow next len version ", " "},
    Vocabulary{"frag", " id off next ", " mf "},
    Vocabulary{"hopopts", " hex next len ", " "},
    Vocabulary{"dstopts", " hex next len ", " "},
    Vocabulary{"routing", " hex next len ", " "},
    Vocabulary{"tcp", " sport dport flags seq ack win urp doff mss wscale sack ts opt ",
               " sackok nop eol badsum "},
    Vocabulary{"udp", " sport dport len ", " nosum badsum "},
    Vocabulary{"udplite", " sport dport cov ", " nosum badsum "},
    Vocabulary{"sctp", " sport dport vtag ", " badsum "},
    Vocabulary{"chunk", " ctype cflags tag clen hex ", " "},
    Vocabulary{"dccp", " sport dport dtype seq ack cscov doff ", " short badsum "},
    Vocabulary{"gre", " ver gproto key call gseq ", " "},
    Vocabulary{"icmp", " type code id seq mtu gw ptr ", " badsum "},
    Vocabulary{"icmp6", " type code id seq mtu ptr ", " badsum "},
    Vocabulary{"data", " hex ", " "},
};

struct TypeName {
  std::string_view name;
  unsigned type;
};

constexpr std::array kChunks = {
    TypeName{"data", 0},
    TypeName{"init", 1},
    TypeName{"init-ack", 2},
    TypeName{"sack", 3},
    TypeName{"heartbeat", 4},
    TypeName{"heartbeat-ack", 5},
    TypeName{"abort", 6},
    TypeName{"shutdown", 7},
    TypeName{"shutdown-ack", 8},
    TypeName{"error", 9},
    TypeName{"cookie-echo", 10},
    TypeName{"cookie-ack", 11},
    TypeName{"shutdown-complete", 14},
};

constexpr std::array kDccp = {
    TypeName{"request", 0}, TypeName{"response", 1}, TypeName{"data", 2},  TypeName{"ack", 3},
    TypeName{"dataack", 4}, TypeName{"closereq", 5}, TypeName{"close", 6}, TypeName{"reset", 7},
    TypeName{"sync", 8},    TypeName{"syncack", 9},
};

bool contains(std::string_view list, std::string_view word) {
  return list.find(fmt::format(" {} ", word)) != std::string_view::npos;
}

const Vocabulary* find(std::string_view layer) {
  const auto* at = std::ranges::find(kVocabulary, layer, &Vocabulary::layer);
  return at == kVocabulary.end() ? nullptr : at;
}

constexpr std::array kIcmp = {
    TypeName{"echo-reply", 0},         TypeName{"unreachable", 3}, TypeName{"source-quench", 4},
    TypeName{"redirect", 5},           TypeName{"echo", 8},        TypeName{"time-exceeded", 11},
    TypeName{"parameter-problem", 12}, TypeName{"timestamp", 13},  TypeName{"timestamp-reply", 14},
};

constexpr std::array kIcmp6 = {
    TypeName{"unreachable", 1},
    TypeName{"too-big", 2},
    TypeName{"time-exceeded", 3},
    TypeName{"parameter-problem", 4},
    TypeName{"echo", 128},
    TypeName{"echo-reply", 129},
    TypeName{"router-solicit", 133},
    TypeName{"router-advert", 134},
    TypeName{"neighbour-solicit", 135},
    TypeName{"neighbour-advert", 136},
    TypeName{"redirect", 137},
};

}  // namespace

bool is_layer(std::string_view word) { return find(word) != nullptr; }

bool is_field(std::string_view layer, std::string_view word) {
  const Vocabulary* const vocabulary = find(layer);
  return vocabulary != nullptr && contains(vocabulary->fields, word);
}

bool is_flag(std::string_view layer, std::string_view word) {
  const Vocabulary* const vocabulary = find(layer);
  return vocabulary != nullptr && contains(vocabulary->flags, word);
}

bool is_any_flag(std::string_view word) {
  return std::ranges::any_of(kVocabulary,
                             [word](const Vocabulary& v) { return contains(v.flags, word); });
}

std::string type_number(std::string_view layer, const std::string& word) {
  const auto names = layer == "icmp"    ? std::span<const TypeName>(kIcmp)
                     : layer == "icmp6" ? std::span<const TypeName>(kIcmp6)
                     : layer == "chunk" ? std::span<const TypeName>(kChunks)
                                        : std::span<const TypeName>(kDccp);
  const auto at = std::ranges::find(names, word, &TypeName::name);
  return at == names.end() ? word : std::to_string(at->type);
}

bool is_icmp_error(std::string_view layer, unsigned type) {
  if (layer == "icmp6") return type >= 1 && type <= 4;
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

std::string text_to_hex(std::string_view text) {
  std::string hex;
  for (const char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

}  // namespace weir::test
