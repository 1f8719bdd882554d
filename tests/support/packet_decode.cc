#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/ethernet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "tests/support/internet_sum.h"
#include "tests/support/packet_bytes.h"
#include "tests/support/packet_words.h"

namespace weir::test {

namespace {

/// Reads past the end as zeros; callers compare sizes where it matters.
class View {
 public:
  explicit View(Bytes bytes) : bytes_(bytes) {}
  std::uint32_t u8(std::size_t at) const { return at < bytes_.size() ? bytes_[at] : 0; }
  std::uint32_t u16(std::size_t at) const { return u8(at) << 8 | u8(at + 1); }
  std::uint32_t u32(std::size_t at) const { return u16(at) << 16 | u16(at + 2); }
  std::size_t size() const { return bytes_.size(); }
  Bytes part(std::size_t at, std::size_t count = SIZE_MAX) const {
    const std::size_t begin = std::min(at, bytes_.size());
    return bytes_.subspan(begin, std::min(count, bytes_.size() - begin));
  }

 private:
  Bytes bytes_;
};

std::string hex(Bytes bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::string address(Bytes bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  std::array<std::uint8_t, 16> full{};
  std::ranges::copy(bytes, full.begin());
  inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, full.data(), text.data(), text.size());
  return text.data();
}

class Decoder {
 public:
  explicit Decoder(bool is_quote) : is_quote_(is_quote) {}

  Packet datagram(Bytes bytes) {
    const View view(bytes);
    if (view.u8(0) >> 4 == 4) {
      ip(bytes);
    } else {
      ip6(bytes);
    }
    return std::move(packet_);
  }

 private:
  Layer& add(std::string_view kind) {
    packet_.layers.push_back({.kind = std::string(kind), .fields = {}});
    return packet_.layers.back();
  }

  static void set(Layer& layer, std::string_view name, std::uint32_t value) {
    layer.set(name, std::to_string(value));
  }

  void ip(Bytes bytes) {
    const View view(bytes);
    const std::size_t header_bytes = (view.u8(0) & 15) * 4;
    const std::size_t total = view.u16(2);
    Layer& layer = add("ip");
    layer.set("src", address(view.part(12, 4)));
    layer.set("dst", address(view.part(16, 4)));
    set(layer, "ttl", view.u8(8));
    set(layer, "tos", view.u8(1));
    set(layer, "id", view.u16(4));
    set(layer, "len", static_cast<std::uint32_t>(total));
    set(layer, "proto", view.u8(9));
    const std::uint32_t fragment = view.u16(6);
    if ((fragment & 0x4000) != 0) layer.set("df", "");
    if ((fragment & 0x2000) != 0) layer.set("mf", "");
    set(layer, "off", (fragment & 0x1fff) * 8);
    if (header_bytes > 20) layer.set("opts", hex(view.part(20, header_bytes - 20)));
    if (internet_sum(view.part(0, header_bytes)) != 0) layer.set("badsum", "");
    pseudo_ = view.part(12, 8);
    const Bytes payload = bound(view.part(header_bytes), total - std::min(total, header_bytes));
    is_whole_ = is_whole_ && (fragment & 0x3fff) == 0;
    transport(view.u8(9), payload, (fragment & 0x1fff) != 0);
  }

  void ip6(Bytes bytes) {
    const View view(bytes);
    Layer& layer = add("ip6");
    layer.set("src", address(view.part(8, 16)));
    layer.set("dst", address(view.part(24, 16)));
    set(layer, "hlim", view.u8(7));
    set(layer, "tc", view.u32(0) >> 20 & 0xff);
    set(layer, "flow", view.u32(0) & 0xfffff);
    set(layer, "len", view.u16(4));
    pseudo_ = view.part(8, 32);
    extensions(view.u8(6), bound(view.part(40), view.u16(4)));
  }

  /// Cuts padding off and notes what is missing.
  Bytes bound(Bytes payload, std::size_t length) {
    if (payload.size() >= length) {
      packet_.pad_bytes = payload.size() - length;
      return payload.first(length);
    }
    is_whole_ = false;
    if (!is_quote_) packet_.cut_bytes = length - payload.size();
    return payload;
  }

  void extensions(std::uint32_t next, Bytes payload) {
    while (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
           next == IPPROTO_FRAGMENT) {
      const View view(payload);
      std::size_t header_bytes = 8;
      bool is_later = false;
      if (next == IPPROTO_FRAGMENT) {
        Layer& layer = add("frag");
        set(layer, "off", view.u16(2) & 0xfff8);
        set(layer, "id", view.u32(4));
        if ((view.u16(2) & 1) != 0) layer.set("mf", "");
        is_whole_ = is_whole_ && (view.u16(2) & 0xfff9) == 0;
        is_later = (view.u16(2) & 0xfff8) != 0;
      } else {
        header_bytes = (view.u8(1) + 1) * 8;
        add(next == IPPROTO_HOPOPTS   ? "hopopts"
            : next == IPPROTO_ROUTING ? "routing"
                                      : "dstopts")
            .set("hex", hex(view.part(2, header_bytes - 2)));
      }
      next = view.u8(0);
      payload = view.part(header_bytes);
      if (is_later) {
        data(payload);
        return;
      }
      if (payload.empty()) return;
    }
    transport(next, payload, false);
  }

  void transport(std::uint32_t protocol, Bytes payload, bool is_later) {
    if (is_later || payload.size() < 8) {
      data(payload);
    } else if (protocol == IPPROTO_TCP) {
      tcp(payload);
    } else if (protocol == IPPROTO_UDP) {
      udp(payload);
    } else if (protocol == IPPROTO_UDPLITE) {
      udplite(payload);
    } else if (protocol == IPPROTO_SCTP) {
      sctp(payload);
    } else if (protocol == IPPROTO_DCCP) {
      dccp(payload);
    } else if (protocol == IPPROTO_GRE) {
      gre(payload);
    } else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
      icmp(protocol == IPPROTO_ICMP ? "icmp" : "icmp6", payload);
    } else {
      data(payload);
    }
  }

  void data(Bytes bytes) {
    if (!bytes.empty()) add("data").set("hex", hex(bytes));
  }

  /// `coverage` is how many bytes the checksum covers.
  void check_sum(Layer& layer, Bytes bytes, std::uint32_t protocol,
                 std::size_t coverage = SIZE_MAX) {
    if (!is_whole_) return;
    ByteString covered;
    if (protocol != IPPROTO_ICMP) {
      covered.assign(pseudo_.begin(), pseudo_.end());
      for (const std::uint32_t value : {static_cast<std::uint32_t>(bytes.size()), protocol}) {
        for (int shift = 24; shift >= 0; shift -= 8) covered.push_back(value >> shift & 0xff);
      }
    }
    const Bytes summed = bytes.first(std::min(bytes.size(), coverage));
    covered.insert(covered.end(), summed.begin(), summed.end());
    if (internet_sum(covered) != 0) layer.set("badsum", "");
  }

  void tcp(Bytes bytes) {
    const View view(bytes);
    Layer& layer = add("tcp");
    set(layer, "sport", view.u16(0));
    set(layer, "dport", view.u16(2));
    std::string flags;
    for (std::size_t bit = 0; bit < 8; ++bit) {
      if ((view.u8(13) >> bit & 1) != 0) flags += "FSRPAUEC"[bit];
    }
    set(layer, "seq", view.u32(4));
    if (bytes.size() < 20) return;  // A quote of eight bytes.
    layer.set("flags", flags.empty() ? "-" : flags);
    set(layer, "ack", view.u32(8));
    set(layer, "win", view.u16(14));
    set(layer, "urp", view.u16(18));
    const std::size_t header_bytes = std::min<std::size_t>((view.u8(12) >> 4) * 4, bytes.size());
    for (std::size_t at = 20; at < header_bytes;) at = tcp_option(layer, view, at, header_bytes);
    check_sum(layer, bytes, IPPROTO_TCP);
    data(view.part(header_bytes));
  }

  static std::size_t tcp_option(Layer& layer, const View& view, std::size_t at, std::size_t end) {
    const std::uint32_t kind = view.u8(at);
    if (kind == 0) return end;
    if (kind == 1) {
      layer.fields.push_back({"nop", ""});
      return at + 1;
    }
    const std::size_t length = view.u8(at + 1);
    if (length < 2) return end;
    if (kind == 2) {
      set(layer, "mss", view.u16(at + 2));
    } else if (kind == 3) {
      set(layer, "wscale", view.u8(at + 2));
    } else if (kind == 4) {
      layer.set("sackok", "");
    } else if (kind == 5) {
      std::string blocks;
      for (std::size_t i = at + 2; i + 8 <= at + length; i += 8) {
        blocks += fmt::format("{}{}-{}", blocks.empty() ? "" : ",", view.u32(i), view.u32(i + 4));
      }
      layer.set("sack", blocks);
    } else if (kind == 8) {
      layer.set("ts", fmt::format("{}:{}", view.u32(at + 2), view.u32(at + 6)));
    } else {
      layer.set("opt", hex(view.part(at, length)));
    }
    return at + length;
  }

  void udp(Bytes bytes) {
    const View view(bytes);
    Layer& layer = add("udp");
    set(layer, "sport", view.u16(0));
    set(layer, "dport", view.u16(2));
    set(layer, "len", view.u16(4));
    if (view.u16(6) == 0) {
      layer.set("nosum", "");
    } else {
      check_sum(layer, bytes, IPPROTO_UDP);
    }
    data(view.part(8));
  }

  Layer& ports(std::string_view kind, const View& view) {
    Layer& layer = add(kind);
    set(layer, "sport", view.u16(0));
    set(layer, "dport", view.u16(2));
    return layer;
  }

  void udplite(Bytes bytes) {
    const View view(bytes);
    Layer& layer = ports("udplite", view);
    const std::uint32_t coverage = view.u16(4);
    set(layer, "cov", coverage);
    if (view.u16(6) == 0) {
      layer.set("nosum", "");
    } else {
      check_sum(layer, bytes, IPPROTO_UDPLITE, coverage == 0 ? SIZE_MAX : coverage);
    }
    data(view.part(8));
  }

  void sctp(Bytes bytes) {
    const View view(bytes);
    Layer& layer = ports("sctp", view);
    set(layer, "vtag", view.u32(4));
    if (bytes.size() < 12) return;  // A quote of eight bytes.
    ByteString zeroed(bytes.begin(), bytes.end());
    std::fill_n(zeroed.begin() + 8, 4, std::uint8_t{0});
    const std::uint32_t sum = view.u8(8) | view.u8(9) << 8 | view.u8(10) << 16 | view.u8(11) << 24;
    if (is_whole_ && crc32c(zeroed) != sum) layer.set("badsum", "");
    for (Bytes rest = view.part(12); rest.size() >= 4;) {
      const View chunk(rest);
      const std::size_t length = std::max<std::size_t>(chunk.u16(2), 4);
      Layer& each = add("chunk");
      set(each, "ctype", chunk.u8(0));
      set(each, "cflags", chunk.u8(1));
      if (chunk.u8(0) == 1 || chunk.u8(0) == 2) set(each, "tag", chunk.u32(4));
      each.set("hex", hex(chunk.part(4, length - 4)));
      rest = chunk.part((length + 3) / 4 * 4);
    }
  }

  void dccp(Bytes bytes) {
    const View view(bytes);
    Layer& layer = ports("dccp", view);
    if (bytes.size() < 12) return;  // A quote of eight bytes.
    const std::size_t header_bytes = view.u8(4) * std::size_t{4};
    const std::uint32_t coverage = view.u8(5) & 15;
    set(layer, "dtype", view.u8(8) >> 1 & 15);
    set(layer, "cscov", coverage);
    if ((view.u8(8) & 1) == 0) layer.set("short", "");
    check_sum(layer, bytes, IPPROTO_DCCP,
              coverage == 0 ? SIZE_MAX : header_bytes + (coverage - 1) * std::size_t{4});
    data(view.part(header_bytes));
  }

  void gre(Bytes bytes) {
    const View view(bytes);
    Layer& layer = add("gre");
    const std::uint32_t flags = view.u16(0);
    const std::uint32_t version = flags & 7;
    set(layer, "ver", version);
    set(layer, "gproto", view.u16(2));
    std::size_t at = 4;
    if ((flags & 0x2000) != 0) {
      set(layer, version == 1 ? "call" : "key", version == 1 ? view.u16(6) : view.u32(4));
      at += 4;
    }
    if ((flags & 0x1000) != 0) {
      set(layer, "gseq", view.u32(at));
      at += 4;
    }
    data(view.part(at));
  }

  void icmp(std::string_view kind, Bytes bytes) {
    const View view(bytes);
    const bool is_icmp6 = kind == "icmp6";
    const std::uint32_t type = view.u8(0);
    Layer& layer = add(kind);
    set(layer, "type", type);
    set(layer, "code", view.u8(1));
    if (!is_icmp6 && type == 5) {
      layer.set("gw", address(view.part(4, 4)));
    } else if (!is_icmp6 && type == 12) {
      set(layer, "ptr", view.u8(4));
    } else if (is_icmp6 && type == 4) {
      set(layer, "ptr", view.u32(4));
    } else if (is_icmp_error(kind, type)) {
      set(layer, "mtu", view.u32(4));
    } else {
      set(layer, "id", view.u16(4));
      set(layer, "seq", view.u16(6));
    }
    check_sum(layer, bytes, is_icmp6 ? std::uint32_t{IPPROTO_ICMPV6} : std::uint32_t{IPPROTO_ICMP});
    if (is_icmp_error(kind, type) && bytes.size() >= 28) {
      packet_.quote = {decode(view.part(8), true)};
    } else {
      data(view.part(8));
    }
  }

  bool is_quote_;
  bool is_whole_ = true;
  Bytes pseudo_;
  Packet packet_;
};

}  // namespace

Packet decode(Bytes datagram, bool is_quote) { return Decoder(is_quote).datagram(datagram); }

bool is_noise(Bytes frame) {
  const View view(frame);
  const std::uint32_t type = view.u16(12);
  if (type == ETHERTYPE_IP) return false;
  if (type != ETHERTYPE_IPV6) return true;
  std::uint32_t next = view.u8(20);
  std::size_t at = 54;
  if (next == IPPROTO_HOPOPTS) {
    next = view.u8(at);
    at += (view.u8(at + 1) + 1) * 8;
  }
  const std::uint32_t message = view.u8(at);
  const bool is_listener = (message >= 130 && message <= 132) || message == 143;
  return next == IPPROTO_ICMPV6 && (is_listener || (message >= 133 && message <= 136));
}

}  // namespace weir::test
