#include "helpers/ftp_lines.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace weir::helpers::ftp {
namespace {

using conntrack::Direction;
using Found = Announcement::Found;
using wire::Address;
using wire::Family;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool begins_alike(std::string_view text, std::string_view word) {
  const std::size_t bytes = std::min(text.size(), word.size());
  return std::equal(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bytes), word.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

/// Takes text from the front, piece by piece.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::size_t taken() const { return taken_; }
  bool is_at_end() const { return taken_ == text_.size(); }
  char peek() const { return is_at_end() ? '\0' : text_[taken_]; }

  bool take(char c) {
    if (is_at_end() || text_[taken_] != c) return false;
    ++taken_;
    return true;
  }
  /// A decimal number up to `most`, of at least one digit.
  std::optional<std::uint32_t> number(std::uint32_t most) {
    std::uint32_t value = 0;
    const std::size_t begin = taken_;
    for (; is_digit(peek()); ++taken_) {
      value = value * 10 + static_cast<std::uint32_t>(peek() - '0');
      if (value > most) return std::nullopt;
    }
    return taken_ == begin ? std::nullopt : std::optional(value);
  }
  /// Everything up to `end`, which stays.
  std::optional<std::string_view> up_to(char end) {
    const std::size_t at = text_.find(end, taken_);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view piece = text_.substr(taken_, at - taken_);
    taken_ = at;
    return piece;
  }

 private:
  std::string_view text_;
  std::size_t taken_ = 0;
};

/// Something read from the front of a text, and how long it was.
struct Named {
  std::size_t length = 0;
  Address address{};
  bool has_address = false;
  std::uint16_t port = 0;
};

/// Six numbers with commas between (RFC 959 section 4.1.2). `end` must follow; any character but a
/// digit or a comma when it is NUL.
std::optional<Named> read_commas(std::string_view text, char end) {
  Scanner scanner(text);
  std::array<std::uint8_t, 6> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i != 0 && !scanner.take(',')) return std::nullopt;
    const auto number = scanner.number(255);
    if (!number) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(*number);
  }
  const bool is_ended =
      !scanner.is_at_end() && scanner.peek() != ',' && (end == '\0' || scanner.peek() == end);
  if (!is_ended) return std::nullopt;
  return Named{.length = scanner.taken(),
               .address = Address::from(Bytes(bytes).first(4)),
               .has_address = true,
               .port = static_cast<std::uint16_t>(bytes[4] << 8 | bytes[5])};
}

bool may_delimit(char c) { return c >= 33 && c <= 126 && !is_digit(c); }

/// A port and the delimiter behind it.
std::optional<std::uint16_t> read_port(Scanner& scanner, char delimiter) {
  const auto port = scanner.number(0xffff);
  if (!port || *port == 0 || !scanner.take(delimiter)) return std::nullopt;
  return static_cast<std::uint16_t>(*port);
}

/// |1|192.0.2.1|1025| or |2|2001:db8::1|1025| (RFC 2428 section 2).
std::optional<Named> read_extended(std::string_view text, Family family) {
  Scanner scanner(text);
  const char delimiter = scanner.peek();
  if (!may_delimit(delimiter) || !scanner.take(delimiter)) return std::nullopt;
  if (!scanner.take(family == Family::ip ? '1' : '2') || !scanner.take(delimiter)) {
    return std::nullopt;
  }
  const auto named = scanner.up_to(delimiter);
  if (!named || named->size() >= INET6_ADDRSTRLEN) return std::nullopt;
  const auto address = wire::parse_address(*named);
  if (!address || address->family != family || !scanner.take(delimiter)) return std::nullopt;
  const auto port = read_port(scanner, delimiter);
  if (!port) return std::nullopt;
  return Named{
      .length = scanner.taken(), .address = address->address, .has_address = true, .port = *port};
}

/// |||6446| (RFC 2428 section 3).
std::optional<Named> read_port_alone(std::string_view text) {
  Scanner scanner(text);
  const char delimiter = scanner.peek();
  if (!may_delimit(delimiter)) return std::nullopt;
  for (int i = 0; i < 3; ++i) {
    if (!scanner.take(delimiter)) return std::nullopt;
  }
  const auto port = read_port(scanner, delimiter);
  if (!port) return std::nullopt;
  return Named{.length = scanner.taken(), .port = *port};
}

struct Line {
  std::string_view word;
  nat::Spell spell;
};
constexpr Line kPort{"PORT", spell_commas};
constexpr Line kExtendedPort{"EPRT", spell_extended};
constexpr Line kPassive{"227 ", spell_commas};
constexpr Line kExtendedPassive{"229 ", spell_port_alone};

Announcement announce(const Line& line, std::size_t offset, const std::optional<Named>& named) {
  if (!named) return {.found = Found::partly};
  return {.found = Found::whole,
          .address = named->address,
          .has_address = named->has_address,
          .port = named->port,
          .place = {.offset = static_cast<std::uint32_t>(offset),
                    .length = static_cast<std::uint16_t>(named->length),
                    .spell = line.spell}};
}

}  // namespace

Announcement read(std::string_view text, Direction from, Family family) {
  const std::array<const Line*, 2> lines = from == Direction::original
                                               ? std::array{&kPort, &kExtendedPort}
                                               : std::array{&kPassive, &kExtendedPassive};
  for (const Line* line : lines) {
    if (text.empty() || !begins_alike(text, line->word)) continue;
    if (text.size() <= line->word.size()) return {.found = Found::partly};

    std::size_t at = line->word.size();
    if (line == &kPassive) {
      // Where in the line the numbers are, or whether in brackets, isn't said: they begin with the
      // first digit (RFC 1123 section 4.1.2.6).
      at = text.find_first_of("0123456789", at);
    } else {
      const std::size_t skipped = text.find(line == &kExtendedPassive ? '(' : ' ', at);
      at = skipped == std::string_view::npos ? skipped : skipped + 1;
    }
    if (at == std::string_view::npos) return {.found = Found::partly};
    const std::string_view rest = text.substr(at);
    if (line == &kPort) return announce(*line, at, read_commas(rest, '\r'));
    if (line == &kPassive) return announce(*line, at, read_commas(rest, '\0'));
    if (line == &kExtendedPort) return announce(*line, at, read_extended(rest, family));
    return announce(*line, at, read_port_alone(rest));
  }
  return {};
}

namespace {

/// Puts text and numbers into a span that is long enough for all of it.
class Printer {
 public:
  explicit Printer(std::span<char> out) : out_(out) {}

  Printer& operator<<(std::string_view text) {
    for (const char c : text) out_[length_++] = c;
    return *this;
  }
  Printer& operator<<(unsigned number) {
    const auto end = std::to_chars(out_.data() + length_, out_.data() + out_.size(), number).ptr;
    length_ = static_cast<std::size_t>(end - out_.data());
    return *this;
  }
  std::size_t length() const { return length_; }

 private:
  std::span<char> out_;
  std::size_t length_ = 0;
};

}  // namespace

std::size_t spell_commas(std::span<char> out, Family, const Address& address, std::uint16_t port) {
  Printer printer(out);
  for (std::size_t i = 0; i < 4; ++i) printer << unsigned{address.bytes[i]} << ",";
  printer << port / 256u << "," << port % 256u;
  return printer.length();
}

std::size_t spell_extended(std::span<char> out, Family family, const Address& address,
                           std::uint16_t port) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(static_cast<int>(family), address.bytes.data(), text.data(), text.size());
  Printer printer(out);
  printer << (family == Family::ip ? "|1|" : "|2|") << std::string_view(text.data()) << "|"
          << unsigned{port} << "|";
  return printer.length();
}

std::size_t spell_port_alone(std::span<char> out, Family, const Address&, std::uint16_t port) {
  Printer printer(out);
  printer << "|||" << unsigned{port} << "|";
  return printer.length();
}

}  // namespace weir::helpers::ftp
