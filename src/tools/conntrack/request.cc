#include "tools/conntrack/request.h"

#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <strings.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

#include "tools/conntrack/names.h"
#include "tools/conntrack/options.h"

/// How a command line is read: getopt_long gives one option after the other to Parser, which fills
/// the request and notes the letter; command_rules() then say which letters each command takes and
/// needs. Options of conntrack(8) keep its letters; the long ones that it has only after -p, and
/// weir's own, have numbers.
namespace weir::tools::conntrack {
namespace {

constexpr std::uint32_t kHardwareOffload = 1 << 15;  // IPS_HW_OFFLOAD

struct Named {
  std::string_view name;
  std::uint32_t value;
};

constexpr Named kStatuses[] = {{"ASSURED", IPS_ASSURED},
                               {"SEEN_REPLY", IPS_SEEN_REPLY},
                               {"UNSET", 0},
                               {"FIXED_TIMEOUT", IPS_FIXED_TIMEOUT},
                               {"EXPECTED", IPS_EXPECTED},
                               {"OFFLOAD", IPS_OFFLOAD},
                               {"HW_OFFLOAD", kHardwareOffload}};
constexpr Named kEventNames[] = {{"ALL", kAllEvents},
                                 {"NEW", kNewEvents},
                                 {"UPDATES", kUpdateEvents},
                                 {"DESTROY", kDestroyEvents}};

std::unexpected<Error> wrong(std::string text) {
  return std::unexpected(Error{EINVAL, std::move(text)});
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    parts.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Result<std::uint32_t> find_named(std::span<const Named> names, const std::string& word,
                                 std::string_view what) {
  std::string known;
  for (const Named& named : names) {
    if (strcasecmp(std::string(named.name).c_str(), word.c_str()) == 0) return named.value;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", named.name);
  }
  return wrong(fmt::format("there is no {} '{}': {}", what, word, known));
}

/// A number in decimal, octal or hexadecimal, as strtoul reads it, that must be all of the text.
Result<std::uint32_t> number(const std::string& text, std::uint32_t most, std::string_view what) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text.c_str(), &end, 0);
  if (text.empty() || text[0] == '-' || *end != '\0' || errno != 0 || value > most)
    return wrong(fmt::format("{} must be a number of 0 to {}, not '{}'", what, most, text));
  return static_cast<std::uint32_t>(value);
}

/// Reads options into a request. Every function returns nothing but an error.
class Parser {
 public:
  Result<Request> parse(int argc, char** argv);

 private:
  Result<void> take(int letter);
  Result<void> take_command(int letter, Command command);
  Result<void> take_address(std::optional<Address>& into, std::optional<Address>* mask,
                            int mask_letter);
  Result<void> take_nat(NatTo& to, bool& wanted);
  Result<void> take_status();
  Result<void> take_mark();
  Result<void> take_labels(std::optional<Labels>& into);
  Result<void> take_output();
  Result<void> take_group();
  Result<void> take_family();
  Result<void> take_port(End& end, std::optional<std::uint16_t> End::* port);
  template <typename T>
  Result<void> take_number(std::optional<T>& into, std::uint32_t most, std::string_view what);
  Result<void> set_family(std::uint8_t family);
  std::optional<std::string> word_after();
  Result<void> read_state();
  Result<void> check(const CommandRule& rule) const;
  Result<void> complete();
  bool has(char letter) const { return letters_.find(letter) != std::string::npos; }

  Request request_;
  std::string letters_;  // Of the options that were given.
  std::string state_, role_;
  std::optional<Address> tuple_src_, tuple_dst_, expect_src_mask_, expect_dst_mask_;
  bool has_protocol_options_ = false;
  int argc_ = 0;
  char** argv_ = nullptr;
};

/// getopt's optional arguments must stick to their option; as conntrack(8), also take the next
/// word.
std::optional<std::string> Parser::word_after() {
  if (optarg != nullptr) return optarg;
  if (optind < argc_ && argv_[optind][0] != '-') return argv_[optind++];
  return {};
}

Result<void> Parser::take_command(int letter, Command command) {
  if (request_.command != Command::none)
    return wrong("only one command can be given; `weir conntrack --help` lists them");
  request_.command = command;
  if (letter == 'R') {
    request_.file = optarg;
    return {};
  }
  const auto table = word_after();
  if (!table) return {};
  constexpr std::pair<std::string_view, Table> kTables[] = {{"conntrack", Table::conntrack},
                                                            {"expect", Table::expect},
                                                            {"dying", Table::dying},
                                                            {"unconfirmed", Table::unconfirmed}};
  for (const auto& [name, value] : kTables) {
    if (!name.starts_with(*table)) continue;
    request_.table = value;
    if (command != Command::list && (value == Table::dying || value == Table::unconfirmed))
      return wrong(fmt::format("the table {} can only be listed (-L {})", name, name));
    return {};
  }
  return wrong(
      fmt::format("there is no table '{}': conntrack, expect, dying, unconfirmed", *table));
}

Result<void> Parser::set_family(std::uint8_t family) {
  if (request_.family != 0 && request_.family != family)
    return wrong("IPv4 and IPv6 addresses can't be mixed");
  request_.family = family;
  return {};
}

Result<void> Parser::take_address(std::optional<Address>& into, std::optional<Address>* mask,
                                  int mask_letter) {
  const std::string text = optarg;
  const std::size_t slash = text.find('/');
  const auto address = Address::parse(text.substr(0, slash));
  if (!address) return wrong(fmt::format("'{}' is not an IP address", text));
  if (auto set = set_family(address->family); !set) return set;
  into = *address;
  if (slash == std::string::npos) return {};
  if (mask == nullptr) return wrong(fmt::format("a prefix length is not possible here: {}", text));
  const auto length =
      number(text.substr(slash + 1), address->family == AF_INET ? 32 : 128, "the prefix length");
  if (!length) return std::unexpected(length.error());
  if (*length == (address->family == AF_INET ? 32 : 128)) return {};
  *mask = Address::mask_of(address->family, *length);
  letters_ += static_cast<char>(mask_letter);
  return {};
}

/// IP, IP:PORT, [IPv6]:PORT, :PORT, or nothing: any translation.
Result<void> Parser::take_nat(NatTo& to, bool& wanted) {
  wanted = true;
  auto text = word_after();
  if (!text) return {};
  std::string host = *text;
  std::string port;
  if (host.starts_with('[')) {
    const std::size_t close = host.find(']');
    if (close == std::string::npos) return wrong(fmt::format("'{}' lacks its ]", *text));
    port = host.substr(close + 1);
    host = host.substr(1, close - 1);
    if (!port.empty() && port[0] != ':') return wrong(fmt::format("'{}' is not [IP]:PORT", *text));
    port = port.empty() ? port : port.substr(1);
  } else if (std::count(host.begin(), host.end(), ':') == 1) {
    const std::size_t colon = host.find(':');
    port = host.substr(colon + 1);
    host = host.substr(0, colon);
    if (port.empty()) return wrong(fmt::format("'{}' lacks the port after its colon", *text));
  }
  if (!port.empty()) {
    const auto value = number(port, 65535, "the port");
    if (!value) return std::unexpected(value.error());
    to.port = static_cast<std::uint16_t>(*value);
  }
  if (host.empty()) return {};
  to.address = Address::parse(host);
  if (!to.address) return wrong(fmt::format("'{}' is not an IP address", host));
  return set_family(to.address->family);
}

/// Names to set or match; "!NAME" and UNREPLIED for bits that must be clear.
Result<void> Parser::take_status() {
  std::uint32_t set = 0;
  for (std::string word : split(optarg)) {
    if (strcasecmp(word.c_str(), "SRC_NAT") == 0 || strcasecmp(word.c_str(), "DST_NAT") == 0) {
      return wrong(
          "SRC_NAT and DST_NAT can't be set or compared by -u: use --src-nat and --dst-nat");
    }
    if (word == "UNREPLIED") {
      request_.clear_status |= IPS_SEEN_REPLY;
      continue;
    }
    const bool negated = word.starts_with('!');
    const auto bit = find_named(kStatuses, negated ? word.substr(1) : word, "status");
    if (!bit) return std::unexpected(bit.error());
    (negated ? request_.clear_status : set) |= *bit;
  }
  request_.flow.status = set;
  return {};
}

Result<void> Parser::take_mark() {
  const std::string text = optarg;
  const std::size_t slash = text.find('/');
  constexpr std::uint32_t kMost = ~std::uint32_t{0};
  const auto value = number(text.substr(0, slash), kMost, "the mark");
  if (!value) return std::unexpected(value.error());
  MarkMatch mark{.value = *value};
  if (slash != std::string::npos) {
    const auto mask = number(text.substr(slash + 1), kMost, "the mark's mask");
    if (!mask) return std::unexpected(mask.error());
    mark.mask = *mask;
  }
  request_.mark = mark;
  return {};
}

Result<void> Parser::take_labels(std::optional<Labels>& into) {
  if (request_.format.labels.empty()) request_.format.labels = LabelNames::load();
  if (!into) into.emplace();
  for (const std::string& name : split(optarg)) {
    const auto bit = request_.format.labels.bit(name);
    if (!bit) return wrong(fmt::format("there is no label '{}' in {}", name, LabelNames::kFile));
    set_label(*into, *bit);
  }
  return {};
}

Result<void> Parser::take_output() {
  Format& format = request_.format;
  bool mixed = false;
  for (const std::string& word : split(optarg)) {
    if (word == "xml") {
      format.form = Form::xml;
    } else if (word == "save") {
      format.form = Form::save;
    } else if (word == "json") {
      format.form = Form::json;
    } else if (word == "extended") {
      mixed = format.with_layer3 = true;
    } else if (word == "id") {
      mixed = format.with_id = true;
    } else if (word == "timestamp") {
      mixed = format.with_time = true;
    } else if (word == "ktimestamp") {
      mixed = format.with_flow_times = true;
    } else if (word == "labels") {
      mixed = format.with_labels = true;
      if (format.labels.empty()) format.labels = LabelNames::load();
    } else if (word != "userspace") {  // Always shown.
      return wrong(
          fmt::format("there is no output '{}': xml, json, save, extended, id, timestamp, "
                      "ktimestamp, labels, userspace",
                      word));
    }
  }
  if (mixed && format.form == Form::save)
    return wrong("-o save can't be combined with another output");
  return {};
}

Result<void> Parser::take_group() {
  constexpr std::pair<std::string_view, GroupBy> kGroups[] = {{"src", GroupBy::src},
                                                              {"dst", GroupBy::dst},
                                                              {"port", GroupBy::port},
                                                              {"zone", GroupBy::zone}};
  for (const auto& [name, value] : kGroups) {
    if (name != optarg) continue;
    request_.group_by = value;
    return {};
  }
  return wrong(fmt::format("entries can't be grouped by '{}': src, dst, port, zone", optarg));
}

Result<void> Parser::take_family() {
  if (std::string_view(optarg) == "ipv4") return set_family(AF_INET);
  if (std::string_view(optarg) == "ipv6") return set_family(AF_INET6);
  return wrong(fmt::format("there is no family '{}': ipv4, ipv6", optarg));
}

template <typename T>
Result<void> Parser::take_number(std::optional<T>& into, std::uint32_t most,
                                 std::string_view what) {
  const auto value = number(optarg, most, what);
  if (!value) return std::unexpected(value.error());
  into = static_cast<T>(*value);
  return {};
}

Result<void> Parser::take_port(End& end, std::optional<std::uint16_t> End::* port) {
  has_protocol_options_ = true;
  return take_number(end.*port, 65535, "the port");
}

Result<void> Parser::take(int letter) {
  Flow& flow = request_.flow;
  Expectation& expectation = request_.expectation;
  constexpr std::uint32_t kAny = ~std::uint32_t{0};
  switch (letter) {
    case 'L':
      return take_command(letter, Command::list);
    case 'I':
      return take_command(letter, Command::insert);
    case 'A':
      return take_command(letter, Command::add);
    case 'D':
      return take_command(letter, Command::remove);
    case 'U':
      return take_command(letter, Command::update);
    case 'G':
      return take_command(letter, Command::get);
    case 'F':
      return take_command(letter, Command::flush);
    case 'E':
      return take_command(letter, Command::events);
    case 'C':
      return take_command(letter, Command::count);
    case 'S':
      return take_command(letter, Command::stats);
    case 'R':
      return take_command(letter, Command::restore);
    case 'V':
      return take_command(letter, Command::version);
    case 'h':
      request_.command = Command::help;
      return {};
    case 's':
      return take_address(flow.original.src, &request_.src_mask, '{');
    case 'd':
      return take_address(flow.original.dst, &request_.dst_mask, '}');
    case 'r':
      return take_address(flow.reply.src, nullptr, 0);
    case 'q':
      return take_address(flow.reply.dst, nullptr, 0);
    case '[':
      return take_address(tuple_src_, &expect_src_mask_, '{');
    case ']':
      return take_address(tuple_dst_, &expect_dst_mask_, '}');
    case '{':
      return take_address(request_.src_mask, nullptr, 0);
    case '}':
      return take_address(request_.dst_mask, nullptr, 0);
    case 'p': {
      flow.original.protocol = protocol_number(optarg);
      if (!flow.original.protocol) return wrong(fmt::format("there is no protocol '{}'", optarg));
      return {};
    }
    case 't':
      return take_number(flow.timeout, kAny, "the timeout");
    case 'u':
      return take_status();
    case 'z':
      request_.zeroes = true;
      return {};
    case 'e': {
      request_.events = 0;
      for (const std::string& word : split(optarg)) {
        const auto bits = find_named(kEventNames, word, "event");
        if (!bits) return std::unexpected(bits.error());
        request_.events |= *bits;
      }
      return {};
    }
    case 'm':
      return take_mark();
    case 'c':
      return take_number(flow.secmark, kAny, "the secmark");
    case 'i':
      return take_number(flow.id, kAny, "the id");
    case 'f':
      return take_family();
    case 'n':
      return take_nat(flow.source_nat, request_.with_source_nat);
    case 'g':
      return take_nat(flow.destination_nat, request_.with_destination_nat);
    case 'j':
      return take_nat(request_.any_nat, request_.with_any_nat);
    case 'o':
      return take_output();
    case 'b':
      return take_number(request_.buffer_bytes, 1U << 30, "the buffer's size");
    case 'w':
      return take_number(flow.zone, 65535, "the zone");
    case '(':
      return take_number(flow.original.zone, 65535, "the zone");
    case ')':
      return take_number(flow.reply.zone, 65535, "the zone");
    case 'l':
      return take_labels(request_.labels);
    case '<':
      return take_labels(request_.add_labels);
    case '>': {
      const auto names = word_after();
      request_.removes_all_labels = !names;
      if (!names) return {};
      optarg = const_cast<char*>(names->c_str());
      return take_labels(request_.remove_labels);
    }
    case kSourcePort:
      return take_port(flow.original, &End::src_port);
    case kDestinationPort:
      return take_port(flow.original, &End::dst_port);
    case kReplySourcePort:
      return take_port(flow.reply, &End::src_port);
    case kReplyDestinationPort:
      return take_port(flow.reply, &End::dst_port);
    case kMaskSourcePort:
      return take_port(expectation.mask, &End::src_port);
    case kMaskDestinationPort:
      return take_port(expectation.mask, &End::dst_port);
    case kTupleSourcePort:
      return take_port(expectation.expected, &End::src_port);
    case kTupleDestinationPort:
      return take_port(expectation.expected, &End::dst_port);
    case kState:
      state_ = optarg;
      has_protocol_options_ = true;
      return {};
    case kRole:
      role_ = optarg;
      has_protocol_options_ = true;
      return {};
    case kOriginalVtag:
      has_protocol_options_ = true;
      return take_number(flow.original_vtag, kAny, "the vtag");
    case kReplyVtag:
      has_protocol_options_ = true;
      return take_number(flow.reply_vtag, kAny, "the vtag");
    case kIcmpType:
      has_protocol_options_ = true;
      return take_number(flow.original.icmp_type, 255, "the ICMP type");
    case kIcmpCode:
      has_protocol_options_ = true;
      return take_number(flow.original.icmp_code, 255, "the ICMP code");
    case kIcmpId:
      has_protocol_options_ = true;
      return take_number(flow.original.icmp_id, 65535, "the ICMP id");
    case kGroupBy:
      return take_group();
    case kTop: {
      std::optional<std::uint32_t> shown;
      auto taken = take_number(shown, 1'000'000, "--top");
      request_.shown_groups = shown.value_or(0);
      return taken;
    }
    case kNoResync:
      request_.resynchronises = false;
      return {};
    case kIgnored:
      return {};
    case ':':
      return wrong(fmt::format("{} needs a value", argv_[optind - 1]));
    default:
      return wrong(fmt::format("there is no option {}", argv_[optind - 1]));
  }
}

/// --state and --role mean something by the protocol alone.
Result<void> Parser::read_state() {
  Flow& flow = request_.flow;
  const std::uint8_t protocol = flow.original.protocol.value_or(0);
  const auto find = [&](std::span<const std::string_view> names, const std::string& name,
                        std::optional<std::uint8_t>& into) -> Result<void> {
    into = number_in(names, name);
    if (into) return {};
    return wrong(fmt::format("{} has no state or role '{}': {}", protocol_name(protocol), name,
                             fmt::join(names, ", ")));
  };
  if (!role_.empty()) {
    if (protocol != IPPROTO_DCCP) return wrong("--role is for -p dccp");
    if (auto done = find(dccp_roles(), role_, flow.dccp_role); !done) return done;
  }
  if (state_.empty()) return {};
  if (protocol == IPPROTO_TCP) return find(tcp_states(), state_, flow.tcp_state);
  if (protocol == IPPROTO_SCTP) return find(sctp_states(), state_, flow.sctp_state);
  if (protocol == IPPROTO_DCCP) return find(dccp_states(), state_, flow.dccp_state);
  return wrong("--state needs -p tcp, sctp or dccp");
}

std::string long_name(char letter) {
  for (const option* known = kOptions; known->name != nullptr; ++known) {
    if (known->val == letter) return fmt::format("--{}", known->name);
  }
  return std::string(1, letter);
}

Result<void> Parser::check(const CommandRule& rule) const {
  for (const char letter : letters_) {
    if (rule.takes.find(letter) == std::string_view::npos)
      return wrong(fmt::format("{} takes no {}", rule.name, long_name(letter)));
  }
  for (const char letter : rule.needs) {
    if (!has(letter)) return wrong(fmt::format("{} needs {}", rule.name, long_name(letter)));
  }
  if (rule.of_expectations) return {};
  const bool makes = request_.command == Command::insert || request_.command == Command::add;
  if (!makes && request_.command != Command::get) return {};
  const bool has_original = has('s') && has('d');
  const bool has_reply = has('r') && has('q');
  if (!has_original && !has_reply)
    return wrong(
        fmt::format("{} needs --src and --dst, or --reply-src and --reply-dst", rule.name));
  return {};
}

End inverted(const End& end) {
  End other = end;
  std::swap(other.src, other.dst);
  std::swap(other.src_port, other.dst_port);
  constexpr std::pair<std::uint8_t, std::uint8_t> kAnswers[] = {
      {8, 0},   {0, 8},   {13, 14},   {14, 13},   {15, 16},   {16, 15},
      {17, 18}, {18, 17}, {128, 129}, {129, 128}, {139, 140}, {140, 139}};
  for (const auto& [type, answer] : kAnswers) {
    if (end.icmp_type == type) {
      other.icmp_type = answer;
      break;
    }
  }
  return other;
}

/// What isn't given of one direction follows from the other, but for its zone.
void complete_from(End& end, const End& other) {
  const auto fill = [](auto& into, const auto& from) {
    if (!into) into = from;
  };
  fill(end.family, other.family);
  fill(end.src, other.src);
  fill(end.dst, other.dst);
  fill(end.protocol, other.protocol);
  fill(end.src_port, other.src_port);
  fill(end.dst_port, other.dst_port);
  fill(end.icmp_type, other.icmp_type);
  fill(end.icmp_code, other.icmp_code);
  fill(end.icmp_id, other.icmp_id);
}

/// What follows from the options together.
Result<void> Parser::complete() {
  Request& request = request_;
  Flow& flow = request.flow;
  if (has_protocol_options_ && !flow.original.protocol)
    return wrong("ports, states and ICMP's fields need a protocol: -p tcp");
  if (auto read = read_state(); !read) return read;
  if (request.with_any_nat && (request.with_source_nat || request.with_destination_nat))
    return wrong("--any-nat can't be combined with --src-nat or --dst-nat");
  if (request.src_mask && request.table == Table::conntrack && !flow.original.src)
    return wrong("--mask-src needs --src");
  if (request.dst_mask && request.table == Table::conntrack && !flow.original.dst)
    return wrong("--mask-dst needs --dst");
  if (request.add_labels && (request.remove_labels || request.removes_all_labels))
    return wrong("--label-add and --label-del can't be combined");
  if (flow.reply.src || flow.reply.dst || flow.reply.src_port || flow.reply.dst_port)
    flow.reply.protocol = flow.original.protocol;

  const bool makes = request.command == Command::insert || request.command == Command::add;
  const bool names_one = makes || request.command == Command::get;
  if (names_one && request.table == Table::conntrack) {
    complete_from(flow.reply, inverted(flow.original));
    complete_from(flow.original, inverted(flow.reply));
  }
  if (names_one && request.family == 0) request.family = AF_INET;
  // Entries that are made by hand have no windows to check (IP_CT_TCP_FLAG_BE_LIBERAL).
  if (flow.original.protocol == IPPROTO_TCP && (makes || request.command == Command::update)) {
    flow.tcp_flags = IP_CT_TCP_FLAG_BE_LIBERAL | IP_CT_TCP_FLAG_SACK_PERM;
    constexpr std::uint8_t kTimeWait = 7;
    if (flow.tcp_state.value_or(0) >= kTimeWait) *flow.tcp_flags |= IP_CT_TCP_FLAG_CLOSE_INIT;
  }
  if (makes && request.mark) flow.mark = request.mark->value;
  if (makes && request.add_labels) flow.labels = request.add_labels;
  if (request.table != Table::expect) return {};

  Expectation& expectation = request.expectation;
  if (expect_src_mask_) request.src_mask = expect_src_mask_;
  if (expect_dst_mask_) request.dst_mask = expect_dst_mask_;
  expectation.master = flow.original;
  expectation.timeout = flow.timeout;
  expectation.expected.src = tuple_src_;
  expectation.expected.dst = tuple_dst_;
  expectation.mask.src = request.src_mask;
  expectation.mask.dst = request.dst_mask;
  expectation.expected.protocol = expectation.mask.protocol = flow.original.protocol;
  return {};
}

Result<Request> Parser::parse(int argc, char** argv) {
  argc_ = argc;
  argv_ = argv;
  opterr = 0;
  optind = 0;  // As if for the first time: -R reads many lines.
  int letter = 0;
  while ((letter = getopt_long(argc, argv, kShortOptions, kOptions, nullptr)) != -1) {
    if (auto taken = take(letter); !taken) return std::unexpected(taken.error());
    constexpr std::string_view kCommandLetters = "LIADUGFECSRVh";
    if (letter < 256 && kCommandLetters.find(static_cast<char>(letter)) == std::string_view::npos)
      letters_ += static_cast<char>(letter);
  }
  if (optind < argc) {
    const std::string_view word = argv[optind];
    if (word != "top" || request_.command != Command::none)
      return wrong(fmt::format("what is '{}'? Options begin with -", word));
    request_.command = Command::top;
  }
  if (request_.command == Command::none)
    return wrong("a command is needed: -L, -G, -D, -I, -U, -E, -F, -C, -S, -R or top");
  if (request_.group_by != GroupBy::none &&
      (request_.command != Command::list || request_.table == Table::expect))
    return wrong("--group-by is for -L");
  for (const CommandRule& rule : command_rules()) {
    if (rule.command != request_.command ||
        rule.of_expectations != (request_.table == Table::expect))
      continue;
    if (auto checked = check(rule); !checked) return std::unexpected(checked.error());
  }
  if (auto completed = complete(); !completed) return std::unexpected(completed.error());
  request_.compares = letters_.find_first_of("sdrqpuciwl()") != std::string::npos;
  if (request_.zeroes && (request_.compares || request_.mark || request_.with_source_nat ||
                          request_.with_destination_nat || request_.with_any_nat))
    return wrong("-z zeroes every entry's counters, so it can't be combined with a filter");
  return std::move(request_);
}

}  // namespace

Result<Request> parse_request(int argc, char** argv) { return Parser().parse(argc, argv); }

}  // namespace weir::tools::conntrack
