#include "tests/support/packet_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "tests/support/packet_words.h"

namespace weir::test {

const std::string* Layer::find(std::string_view name) const {
  for (const Field& field : fields) {
    if (field.name == name) return &field.value;
  }
  return nullptr;
}

void Layer::set(std::string_view name, std::string value) {
  for (Field& field : fields) {
    if (field.name == name) {
      field.value = std::move(value);
      return;
    }
  }
  fields.push_back({std::string(name), std::move(value)});
}

void Layer::remove(std::string_view name) {
  std::erase_if(fields, [name](const Field& field) { return field.name == name; });
}

const Layer* Packet::layer(std::string_view kind) const {
  for (const Layer& layer : layers) {
    if (layer.kind == kind) return &layer;
  }
  return nullptr;
}

Layer* Packet::layer(std::string_view kind) {
  return const_cast<Layer*>(std::as_const(*this).layer(kind));
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (std::isspace(static_cast<unsigned char>(c))) {
      ++at;
    } else if (c == '"') {
      const std::size_t end = std::min(text.find('"', at + 1), text.size() - 1);
      words.emplace_back(text.substr(at, end - at + 1));
      at = end + 1;
    } else if (c == '[' || c == ']') {
      words.emplace_back(1, c);
      ++at;
    } else {
      const std::size_t end = std::min(text.find_first_of(" \t\n[]\"", at), text.size());
      words.emplace_back(text.substr(at, end - at));
      at = end;
    }
  }
  return words;
}

namespace {

std::string fill_pattern(std::size_t count) {
  std::string hex;
  for (std::size_t i = 0; i < count; ++i) hex += fmt::format("{:02x}", (i + (i >> 8) * 13) & 0xff);
  return hex;
}

/// Reads words one after another; the first failure sticks.
class Parser {
 public:
  explicit Parser(std::vector<std::string> words) : words_(std::move(words)) {}

  Result<Packet> parse() {
    Packet packet = parse_until("");
    if (!error_.empty()) return std::unexpected(Error{EINVAL, error_});
    return packet;
  }

 private:
  bool at_end(std::string_view closing) const {
    return !error_.empty() || at_ == words_.size() || words_[at_] == closing;
  }

  std::string next(std::string_view what) {
    if (at_ < words_.size()) return words_[at_++];
    fail(fmt::format("{} is missing at the end", what));
    return {};
  }

  bool take(std::string_view word) {
    if (at_ == words_.size() || words_[at_] != word) return false;
    ++at_;
    return true;
  }

  std::size_t count(std::string_view what) {
    const std::string word = next(what);
    std::size_t value = 0;
    const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (code != std::errc{} || end != word.data() + word.size()) {
      fail(fmt::format("{} must be a number, not '{}'", what, word));
    }
    return value;
  }

  void fail(std::string text) {
    if (error_.empty()) error_ = std::move(text);
  }

  Packet parse_until(std::string_view closing) {
    Packet packet;
    for (const std::string_view link : {"bcast", "mcast", "other"}) {
      if (take(link)) packet.link = link;
    }
    if (take("piece")) packet.piece = parse_piece();
    if (take("received")) {
      packet.base = Base::received;
    } else if (take("same")) {
      packet.base = Base::same;
      if (!at_end(closing) && std::isdigit(static_cast<unsigned char>(words_[at_][0]))) {
        packet.same_index = count("the packet's number");
      }
    }
    while (!at_end(closing)) {
      if (packet.base == Base::written) {
        parse_part(packet);
      } else {
        parse_change(packet);
      }
    }
    if (packet.base == Base::written && packet.layers.empty()) fail("a packet has no layer");
    return packet;
  }

  Packet::Piece parse_piece() {
    Packet::Piece piece;
    piece.offset = count("the piece's offset");
    piece.length = count("the piece's length");
    while (error_.empty() && !take("of")) {
      const std::string word = next("'of'");
      if (word == "id") {
        piece.id = next("the fragment id");
      } else if (word == "mf" || word == "nomf") {
        piece.more = word == "mf";
      } else {
        fail(fmt::format("'{}' is not a word of a piece (id, mf, nomf)", word));
      }
    }
    return piece;
  }

  /// cut, pad and a data layer read alike in a packet and in a change.
  bool parse_common(Packet& packet, const std::string& word) {
    if (word == "cut") {
      packet.cut_bytes = count("the cut");
    } else if (word == "pad") {
      packet.pad_bytes = count("the padding");
    } else if (word == "[") {
      packet.quote = {parse_until("]")};
      if (!take("]")) fail("']' is missing");
    } else {
      return false;
    }
    return true;
  }

  std::string parse_data(const std::string& word) {
    const std::string value = next("the data");
    if (word == "hex") return value;
    if (value.starts_with('"')) return text_to_hex(value.substr(1, value.size() - 2));
    --at_;
    return fill_pattern(count("the data's length"));
  }

  void parse_part(Packet& packet) {
    const std::string word = next("a layer");
    if (parse_common(packet, word)) return;
    const bool is_body =
        word == "hex" && !packet.layers.empty() && packet.layers.back().kind == "chunk";
    if (is_body) {
      parse_field(packet, word);
    } else if (word == "data" || word == "hex") {
      packet.layers.push_back({.kind = "data", .fields = {{"hex", parse_data(word)}}});
    } else if (is_layer(word)) {
      packet.layers.push_back({.kind = word, .fields = {}});
      parse_head(packet.layers.back());
    } else {
      parse_field(packet, word);
    }
  }

  /// What follows a layer's name without a name of its own.
  void parse_head(Layer& layer) {
    const std::string& kind = layer.kind;
    if (kind.starts_with("ip") || is_field(kind, "sport")) {
      const bool is_ip = kind.starts_with("ip");
      layer.set(is_ip ? "src" : "sport", next("the source"));
      if (!take(">")) fail(fmt::format("'{}' needs SOURCE > DESTINATION", kind));
      layer.set(is_ip ? "dst" : "dport", next("the destination"));
      if (kind == "tcp") layer.set("flags", next("the TCP flags"));
      if (kind == "dccp") layer.set("dtype", type_number(kind, next("the DCCP type")));
    } else if (kind == "chunk") {
      layer.set("ctype", type_number(kind, next("the chunk's type")));
    } else if (kind == "icmp" || kind == "icmp6") {
      layer.set("type", type_number(kind, next("the ICMP type")));
    }
  }

  void parse_field(Packet& packet, const std::string& word) {
    if (packet.layers.empty()) {
      fail(fmt::format("'{}' is not a layer", word));
      return;
    }
    // The nearest layer that has such a field: after `data 20`, `ttl 63` is the IP header's.
    const auto layer = std::find_if(
        packet.layers.rbegin(), packet.layers.rend(),
        [&](const Layer& l) { return is_flag(l.kind, word) || is_field(l.kind, word); });
    if (layer == packet.layers.rend()) {
      fail(fmt::format("'{}' is neither a field of '{}' nor a layer", word,
                       packet.layers.back().kind));
    } else if (is_flag(layer->kind, word)) {
      layer->fields.push_back({word, ""});
    } else {
      layer->fields.push_back({word, next(word)});
    }
  }

  void parse_change(Packet& packet) {
    const std::string word = next("a change");
    if (parse_common(packet, word)) return;
    if (word == "data" || word == "hex") {
      packet.changes.push_back({"data.hex", parse_data(word)});
      return;
    }
    const std::string bare = word.substr(word.rfind('.') + 1);
    if (word.starts_with('-') || is_any_flag(bare)) {
      packet.changes.push_back({word, ""});
    } else {
      packet.changes.push_back({word, next(word)});
    }
  }

  std::vector<std::string> words_;
  std::size_t at_ = 0;
  std::string error_;
};

std::string describe_layer(const Layer& layer) {
  std::string text = layer.kind;
  for (const Field& field : layer.fields) {
    if (field.name == "src" || field.name == "sport" || field.name == "flags" ||
        field.name == "type" || field.name == "ctype" || field.name == "dtype") {
      text += " " + field.value;
    } else if (field.name == "dst" || field.name == "dport") {
      text += " > " + field.value;
    } else if (field.name == "hex" && field.value.size() > 80) {
      text += fmt::format(" {}…({} bytes)", field.value.substr(0, 48), field.value.size() / 2);
    } else if (field.name == "hex") {
      text += " " + field.value;
    } else {
      text += " " + field.name + (field.value.empty() ? "" : " " + field.value);
    }
  }
  return text;
}

/// The first layer that owns a field of that name, or the layer named before a dot.
Layer* find_owner(Packet& packet, std::string_view& name) {
  if (const std::size_t dot = name.find('.'); dot != std::string_view::npos) {
    Layer* const layer = packet.layer(name.substr(0, dot));
    name.remove_prefix(dot + 1);
    return layer;
  }
  for (Layer& layer : packet.layers) {
    if (is_field(layer.kind, name) || is_flag(layer.kind, name)) return &layer;
  }
  return nullptr;
}

bool apply_change(Packet& packet, std::string_view name, const std::string& value) {
  const bool is_removed = name.starts_with('-');
  if (is_removed) name.remove_prefix(1);
  if (name.starts_with("inner.")) {
    if (packet.quote.empty()) return false;
    const std::string rest = (is_removed ? "-" : "") + std::string(name.substr(6));
    return apply_change(packet.quote[0], rest, value);
  }
  if (name == "fid" && packet.piece) {
    packet.piece->id = value;
    return true;
  }
  if (name == "data.hex" && packet.layer("data") == nullptr) {
    packet.layers.push_back({.kind = "data", .fields = {}});
  }
  Layer* const layer = find_owner(packet, name);
  if (layer == nullptr) return false;
  if (is_removed) {
    layer->remove(name);
  } else {
    layer->set(name, value);
  }
  return true;
}

}  // namespace

Result<Packet> parse_packet(std::string_view text) { return Parser(split_words(text)).parse(); }

std::string describe(const Packet& packet) {
  std::vector<std::string> parts;
  if (packet.piece) {
    parts.push_back(fmt::format("piece {} {} of", packet.piece->offset, packet.piece->length));
  }
  for (const Layer& layer : packet.layers) parts.push_back(describe_layer(layer));
  if (!packet.quote.empty()) parts.push_back("[ " + describe(packet.quote[0]) + " ]");
  if (packet.cut_bytes != 0) parts.push_back(fmt::format("cut {}", packet.cut_bytes));
  if (packet.pad_bytes != 0) parts.push_back(fmt::format("pad {}", packet.pad_bytes));
  return fmt::format("{}", fmt::join(parts, " "));
}

Result<Packet> apply_changes(const Packet& original, const Packet& same) {
  Packet packet = original;
  if (same.piece) packet.piece = same.piece;
  if (same.cut_bytes != 0) packet.cut_bytes = same.cut_bytes;
  packet.link = same.link;
  packet.pad_bytes = same.pad_bytes;
  if (!same.quote.empty()) packet.quote = same.quote;
  for (const Field& change : same.changes) {
    if (!apply_change(packet, change.name, change.value)) {
      return std::unexpected(
          Error{EINVAL, fmt::format("no layer of '{}' has '{}'", describe(packet), change.name)});
    }
  }
  return packet;
}

}  // namespace weir::test
