#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "tests/support/internet_sum.h"
#include "tests/support/packet_bytes.h"
#include "tests/support/packet_words.h"

namespace weir::test {

namespace {

constexpr std::uint8_t kIcmp = IPPROTO_ICMP;
constexpr std::uint8_t kIcmp6 = IPPROTO_ICMPV6;
constexpr std::uint8_t kNone = IPPROTO_NONE;

struct Extension {
  std::string_view kind;
  std::uint8_t protocol;
};
constexpr std::array kProtocols = {
    Extension{"hopopts", IPPROTO_HOPOPTS}, Extension{"routing", IPPROTO_ROUTING},
    Extension{"frag", IPPROTO_FRAGMENT},   Extension{"dstopts", IPPROTO_DSTOPTS},
    Extension{"tcp", IPPROTO_TCP},         Extension{"udp", IPPROTO_UDP},
    Extension{"icmp", IPPROTO_ICMP},       Extension{"icmp6", IPPROTO_ICMPV6},
    Extension{"udplite", IPPROTO_UDPLITE}, Extension{"sctp", IPPROTO_SCTP},
    Extension{"dccp", IPPROTO_DCCP},       Extension{"gre", IPPROTO_GRE},
};

std::uint8_t protocol_of(std::string_view kind) {
  const auto* at = std::ranges::find(kProtocols, kind, &Extension::kind);
  return at == kProtocols.end() ? kNone : at->protocol;
}

void put16(ByteString& bytes, std::uint64_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

void put32(ByteString& bytes, std::uint64_t value) {
  put16(bytes, value >> 16);
  put16(bytes, value & 0xffff);
}

void set16(ByteString& bytes, std::size_t at, std::uint64_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

/// Builds one datagram. The first value that can't be read is remembered; the rest is built with
/// zeros.
class Encoder {
 public:
  explicit Encoder(const Variables& variables) : variables_(variables) {}

  ByteString datagram(const Packet& packet) {
    if (packet.layers.empty() || !packet.layers[0].kind.starts_with("ip")) {
      fail("the first layer must be ip or ip6");
      return {};
    }
    const Layer& ip = packet.layers[0];
    const bool is_ip6 = ip.kind == "ip6";
    ByteString pseudo = pseudo_header(ip, is_ip6);
    ByteString payload;
    std::uint8_t next = packet.layers.size() == 1 ? kNone : std::uint8_t{0};
    for (std::size_t i = packet.layers.size(); i-- > 1;) {
      payload = layer(packet, packet.layers[i], std::move(payload), next, pseudo);
      next = packet.layers[i].kind == "data" ? kNone : protocol_of(packet.layers[i].kind);
    }
    ByteString bytes = packet.piece ? piece(packet, ip, payload, next)
                       : is_ip6     ? ip6_header(ip, payload, next)
                                    : ip_header(ip, payload, next);
    bytes.resize(bytes.size() - std::min(bytes.size(), packet.cut_bytes));
    bytes.resize(bytes.size() + packet.pad_bytes, 0xa5);
    return bytes;
  }

  const std::string& error() const { return error_; }

 private:
  void fail(std::string text) {
    if (error_.empty()) error_ = std::move(text);
  }

  std::string value(const std::string& text) {
    if (!text.starts_with('$')) return text;
    const std::string name = text.substr(1, text.find(':') - 1);
    const auto at = variables_.find(name);
    if (at != variables_.end()) return at->second;
    fail(fmt::format("${} is not known here", name));
    return "0";
  }

  std::uint64_t number(const std::string& text) {
    const std::string digits = value(text);
    const bool is_hex = digits.starts_with("0x");
    std::uint64_t result = 0;
    const char* const begin = digits.data() + (is_hex ? 2 : 0);
    const char* const end = digits.data() + digits.size();
    const auto [stop, code] = std::from_chars(begin, end, result, is_hex ? 16 : 10);
    if (code != std::errc{} || stop != end) fail(fmt::format("'{}' is not a number", digits));
    return result;
  }

  std::uint64_t number(const Layer& layer, std::string_view name, std::uint64_t otherwise) {
    const std::string* const text = layer.find(name);
    return text == nullptr ? otherwise : number(*text);
  }

  ByteString hex(const std::string& text) {
    ByteString bytes;
    if (text.size() % 2 != 0) fail(fmt::format("'{}' has an odd number of hex digits", text));
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
      std::uint8_t byte = 0;
      if (std::from_chars(&text[i], &text[i] + 2, byte, 16).ptr != &text[i] + 2) {
        fail(fmt::format("'{}' is not hex", text));
      }
      bytes.push_back(byte);
    }
    return bytes;
  }

  void put_address(ByteString& bytes, const std::string& text, bool is_ip6) {
    std::array<std::uint8_t, 16> address{};
    const std::string plain = value(text);
    if (inet_pton(is_ip6 ? AF_INET6 : AF_INET, plain.c_str(), address.data()) != 1) {
      fail(fmt::format("'{}' is not an address of this family", plain));
    }
    bytes.insert(bytes.end(), address.begin(), address.begin() + (is_ip6 ? 16 : 4));
  }

  ByteString pseudo_header(const Layer& ip, bool is_ip6) {
    ByteString bytes;
    put_address(bytes, *ip.find("src"), is_ip6);
    put_address(bytes, *ip.find("dst"), is_ip6);
    return bytes;
  }

  ByteString layer(const Packet& packet, const Layer& layer, ByteString payload, std::uint8_t next,
                   const ByteString& pseudo) {
    if (layer.kind == "data") {
      ByteString bytes = hex(*layer.find("hex"));
      bytes.insert(bytes.end(), payload.begin(), payload.end());
      return bytes;
    }
    if (layer.kind == "tcp") return tcp(layer, payload, pseudo);
    if (layer.kind == "udp") return udp(layer, payload, pseudo);
    if (layer.kind == "udplite") return udplite(layer, payload, pseudo);
    if (layer.kind == "sctp") return sctp(layer, payload);
    if (layer.kind == "chunk") return chunk(layer, payload);
    if (layer.kind == "dccp") return dccp(layer, payload, pseudo);
    if (layer.kind == "gre") return gre(layer, payload);
    if (layer.kind.starts_with("icmp")) return icmp(packet, layer, payload, pseudo);
    return extension(layer, payload, next);
  }

  /// `coverage` is how many bytes the checksum covers.
  void finish_sum(ByteString& bytes, std::size_t at, const Layer& layer, const ByteString& pseudo,
                  std::uint8_t protocol, std::size_t coverage = SIZE_MAX) {
    ByteString covered = pseudo;
    if (!pseudo.empty()) {
      put32(covered, bytes.size());
      put32(covered, protocol);
    }
    const auto end = static_cast<std::ptrdiff_t>(std::min(bytes.size(), coverage));
    covered.insert(covered.end(), bytes.begin(), bytes.begin() + end);
    std::uint16_t sum = internet_sum(covered);
    const bool has_no_zero = protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
    if (has_no_zero && sum == 0) sum = 0xffff;
    if (layer.has("badsum")) sum ^= 0x5555;
    set16(bytes, at, sum);
  }

  ByteString tcp(const Layer& layer, const ByteString& payload, const ByteString& pseudo) {
    ByteString bytes;
    put16(bytes, number(*layer.find("sport")));
    put16(bytes, number(*layer.find("dport")));
    put32(bytes, number(layer, "seq", 0));
    put32(bytes, number(layer, "ack", 0));
    const ByteString options = tcp_options(layer);
    put16(bytes, number(layer, "doff", 5 + options.size() / 4) << 12 | tcp_flags(layer));
    put16(bytes, number(layer, "win", 65535));
    put16(bytes, 0);
    put16(bytes, number(layer, "urp", 0));
    bytes.insert(bytes.end(), options.begin(), options.end());
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    finish_sum(bytes, 16, layer, pseudo, IPPROTO_TCP);
    return bytes;
  }

  std::uint64_t tcp_flags(const Layer& layer) {
    constexpr std::string_view kLetters = "FSRPAUEC";
    std::uint64_t flags = 0;
    for (const char c : *layer.find("flags")) {
      const std::size_t bit = kLetters.find(c);
      if (bit != std::string_view::npos) {
        flags |= 1u << bit;
      } else if (c != '-') {
        fail(fmt::format("'{}' is no TCP flag ({}, - for none)", c, kLetters));
      }
    }
    return flags;
  }

  ByteString tcp_options(const Layer& layer) {
    ByteString bytes;
    for (const Field& field : layer.fields) put_tcp_option(bytes, field);
    while (bytes.size() % 4 != 0) bytes.push_back(0);
    return bytes;
  }

  void put_tcp_option(ByteString& bytes, const Field& field) {
    if (field.name == "mss") {
      bytes.insert(bytes.end(), {2, 4});
      put16(bytes, number(field.value));
    } else if (field.name == "wscale") {
      bytes.insert(bytes.end(), {3, 3, static_cast<std::uint8_t>(number(field.value))});
    } else if (field.name == "sackok") {
      bytes.insert(bytes.end(), {4, 2});
    } else if (field.name == "sack" || field.name == "ts") {
      std::vector<std::uint64_t> numbers;
      std::size_t begin = 0;
      while (begin <= field.value.size()) {
        const std::size_t end =
            std::min(field.value.find_first_of("-,:", begin), field.value.size());
        numbers.push_back(number(field.value.substr(begin, end - begin)));
        begin = end + 1;
      }
      bytes.push_back(field.name == "sack" ? 5 : 8);
      bytes.push_back(static_cast<std::uint8_t>(2 + numbers.size() * 4));
      for (const std::uint64_t n : numbers) put32(bytes, n);
    } else if (field.name == "nop" || field.name == "eol") {
      bytes.push_back(field.name == "nop" ? 1 : 0);
    } else if (field.name == "opt") {
      const ByteString raw = hex(field.value);
      bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
  }

  ByteString udp(const Layer& layer, const ByteString& payload, const ByteString& pseudo) {
    ByteString bytes;
    put16(bytes, number(*layer.find("sport")));
    put16(bytes, number(*layer.find("dport")));
    put16(bytes, number(layer, "len", 8 + payload.size()));
    put16(bytes, 0);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    if (!layer.has("nosum")) finish_sum(bytes, 6, layer, pseudo, IPPROTO_UDP);
    return bytes;
  }

  ByteString udplite(const Layer& layer, const ByteString& payload, const ByteString& pseudo) {
    const std::uint64_t coverage = number(layer, "cov", 0);
    ByteString bytes;
    put16(bytes, number(*layer.find("sport")));
    put16(bytes, number(*layer.find("dport")));
    put16(bytes, coverage);
    put16(bytes, 0);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    if (!layer.has("nosum")) {
      finish_sum(bytes, 6, layer, pseudo, IPPROTO_UDPLITE, coverage == 0 ? SIZE_MAX : coverage);
    }
    return bytes;
  }

  ByteString sctp(const Layer& layer, const ByteString& payload) {
    ByteString bytes;
    put16(bytes, number(*layer.find("sport")));
    put16(bytes, number(*layer.find("dport")));
    put32(bytes, number(layer, "vtag", 0));
    put32(bytes, 0);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    std::uint32_t sum = crc32c(bytes);
    if (layer.has("badsum")) sum ^= 0x55555555;
    for (std::size_t i = 0; i < 4; ++i) bytes[8 + i] = static_cast<std::uint8_t>(sum >> i * 8);
    return bytes;
  }

  ByteString chunk(const Layer& layer, const ByteString& payload) {
    ByteString body = layer.has("hex") ? hex(*layer.find("hex")) : ByteString{};
    if (layer.has("tag")) {  // INIT and INIT ACK: RFC 9260 section 3.3.2.
      put32(body, number(layer, "tag", 0));
      put32(body, 65536);
      put16(body, 10);
      put16(body, 10);
      put32(body, 1);
    }
    ByteString bytes;
    bytes.push_back(static_cast<std::uint8_t>(number(*layer.find("ctype"))));
    bytes.push_back(static_cast<std::uint8_t>(number(layer, "cflags", 0)));
    put16(bytes, number(layer, "clen", 4 + body.size()));
    bytes.insert(bytes.end(), body.begin(), body.end());
    while (bytes.size() % 4 != 0) bytes.push_back(0);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }

  ByteString dccp(const Layer& layer, const ByteString& payload, const ByteString& pseudo) {
    const std::uint64_t type = number(*layer.find("dtype"));
    const std::uint64_t seq = number(layer, "seq", 0);
    const std::uint64_t ack = number(layer, "ack", 0);
    const std::uint64_t coverage = number(layer, "cscov", 0);
    const bool is_short = layer.has("short");
    ByteString bytes;
    put16(bytes, number(*layer.find("sport")));
    put16(bytes, number(*layer.find("dport")));
    put16(bytes, coverage);
    put16(bytes, 0);
    bytes.push_back(static_cast<std::uint8_t>(type << 1 | (is_short ? 0 : 1)));
    if (is_short) {
      bytes.push_back(static_cast<std::uint8_t>(seq >> 16));
      put16(bytes, seq & 0xffff);
      if (type == 3 || type == 4) put32(bytes, ack);
    } else {
      bytes.push_back(0);
      put16(bytes, seq >> 32);
      put32(bytes, seq & 0xffffffff);
      if (type != 0 && type != 2) {
        put32(bytes, ack >> 32);
        put32(bytes, ack & 0xffffffff);
      }
    }
    if (type == 0 || type == 1 || type == 7) put32(bytes, 0);  // Service code, or Reset's code.
    const std::uint64_t header_words = bytes.size() / 4;
    bytes[4] = static_cast<std::uint8_t>(number(layer, "doff", header_words));
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    finish_sum(bytes, 6, layer, pseudo, IPPROTO_DCCP,
               coverage == 0 ? SIZE_MAX : (header_words + coverage - 1) * 4);
    return bytes;
  }

  /// RFC 2890, and RFC 2637 for version 1.
  ByteString gre(const Layer& layer, const ByteString& payload) {
    const std::uint64_t version = number(layer, "ver", 0);
    const bool has_key = layer.has("key") || layer.has("call");
    const bool has_sequence = layer.has("gseq");
    ByteString bytes;
    put16(bytes, (has_key ? 0x2000u : 0) | (has_sequence ? 0x1000u : 0) | version);
    put16(bytes, number(layer, "gproto", version == 1 ? 0x880b : 0x0800));
    if (layer.has("call")) {
      put16(bytes, payload.size());
      put16(bytes, number(layer, "call", 0));
    } else if (layer.has("key")) {
      put32(bytes, number(layer, "key", 0));
    }
    if (has_sequence) put32(bytes, number(layer, "gseq", 0));
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }

  ByteString icmp(const Packet& packet, const Layer& layer, const ByteString& payload,
                  const ByteString& pseudo) {
    const bool is_icmp6 = layer.kind == "icmp6";
    ByteString bytes;
    bytes.push_back(static_cast<std::uint8_t>(number(*layer.find("type"))));
    bytes.push_back(static_cast<std::uint8_t>(number(layer, "code", 0)));
    put16(bytes, 0);
    if (layer.has("gw")) {
      put_address(bytes, *layer.find("gw"), false);
    } else if (layer.has("ptr")) {
      put32(bytes, number(layer, "ptr", 0) << (is_icmp6 ? 0 : 24));
    } else if (layer.has("mtu")) {
      put32(bytes, number(layer, "mtu", 0));
    } else {
      put16(bytes, number(layer, "id", 0));
      put16(bytes, number(layer, "seq", 0));
    }
    if (!packet.quote.empty()) {
      const ByteString quote = datagram(packet.quote[0]);
      bytes.insert(bytes.end(), quote.begin(), quote.end());
    }
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    finish_sum(bytes, 2, layer, is_icmp6 ? pseudo : ByteString{}, is_icmp6 ? kIcmp6 : kIcmp);
    return bytes;
  }

  ByteString extension(const Layer& layer, const ByteString& payload, std::uint8_t next) {
    ByteString bytes = {static_cast<std::uint8_t>(number(layer, "next", next)), 0};
    if (layer.kind == "frag") {
      put16(bytes, (number(layer, "off", 0) & 0xfff8) | (layer.has("mf") ? 1 : 0));
      put32(bytes, number(layer, "id", 0));
    } else {
      const ByteString content =
          layer.has("hex") ? hex(*layer.find("hex")) : ByteString{1, 4, 0, 0, 0, 0};
      bytes.insert(bytes.end(), content.begin(), content.end());
      while (bytes.size() % 8 != 0) bytes.push_back(0);
      bytes[1] = static_cast<std::uint8_t>(number(layer, "len", bytes.size() / 8 - 1));
    }
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }

  ByteString ip_header(const Layer& ip, const ByteString& payload, std::uint8_t next) {
    ByteString options = ip.has("opts") ? hex(*ip.find("opts")) : ByteString{};
    while (options.size() % 4 != 0) options.push_back(0);
    const std::size_t header_bytes = 20 + options.size();
    ByteString bytes;
    bytes.push_back(static_cast<std::uint8_t>(number(ip, "version", 4) << 4 |
                                              number(ip, "ihl", header_bytes / 4)));
    bytes.push_back(static_cast<std::uint8_t>(number(ip, "tos", 0)));
    put16(bytes, number(ip, "len", header_bytes + payload.size()));
    put16(bytes, number(ip, "id", 1));
    put16(bytes, number(ip, "off", 0) / 8 | (ip.has("mf") ? 0x2000 : 0) |
                     (ip.has("df") ? 0x4000 : 0) | (ip.has("evil") ? 0x8000 : 0));
    bytes.push_back(static_cast<std::uint8_t>(number(ip, "ttl", 64)));
    bytes.push_back(static_cast<std::uint8_t>(number(ip, "proto", next)));
    put16(bytes, 0);
    put_address(bytes, *ip.find("src"), false);
    put_address(bytes, *ip.find("dst"), false);
    bytes.insert(bytes.end(), options.begin(), options.end());
    finish_sum(bytes, 10, ip, {}, 0);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }

  ByteString ip6_header(const Layer& ip, const ByteString& payload, std::uint8_t next) {
    ByteString bytes;
    put32(bytes,
          number(ip, "version", 6) << 28 | number(ip, "tc", 0) << 20 | number(ip, "flow", 0));
    put16(bytes, number(ip, "len", payload.size()));
    bytes.push_back(static_cast<std::uint8_t>(number(ip, "next", next)));
    bytes.push_back(static_cast<std::uint8_t>(number(ip, "hlim", 64)));
    put_address(bytes, *ip.find("src"), true);
    put_address(bytes, *ip.find("dst"), true);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }

  /// One fragment. Of IPv6 the fragment header goes before everything behind the IPv6 header; to
  /// have headers before it, write the `frag` layer out.
  ByteString piece(const Packet& packet, const Layer& ip, const ByteString& payload,
                   std::uint8_t next) {
    const Packet::Piece& piece = *packet.piece;
    const std::size_t begin = std::min(piece.offset, payload.size());
    const std::size_t end = std::min(begin + piece.length, payload.size());
    const ByteString part(payload.begin() + begin, payload.begin() + end);
    const bool more = piece.more.value_or(end < payload.size());
    Layer header = ip;
    if (ip.kind == "ip") {
      header.set("off", std::to_string(piece.offset));
      if (more) header.set("mf", "");
      return ip_header(header, part, next);
    }
    Layer fragment{.kind = "frag", .fields = {{"off", std::to_string(piece.offset)}}};
    fragment.set("id", piece.id.empty() ? "1" : piece.id);
    if (more) fragment.set("mf", "");
    return ip6_header(header, extension(fragment, part, next), IPPROTO_FRAGMENT);
  }

  const Variables& variables_;
  std::string error_;
};

}  // namespace

Result<ByteString> encode(const Packet& packet, const Variables& variables) {
  Encoder encoder(variables);
  ByteString bytes = encoder.datagram(packet);
  if (!encoder.error().empty()) {
    return std::unexpected(
        Error{EINVAL, fmt::format("{} in '{}'", encoder.error(), describe(packet))});
  }
  return bytes;
}

}  // namespace weir::test
