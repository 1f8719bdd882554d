#include "tools/sysctl.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/exit_code.h"
#include "netlink/attributes.h"
#include "netlink/weir.h"
#include "netlink/writer.h"
#include "tools/engine_process.h"
#include "tools/netlink_socket.h"

namespace weir::tools {
namespace {

namespace own = netlink::own;

constexpr netlink::Rule kRules[] = {
    {.type = own::kSysctlName, .kind = netlink::Kind::string, .required = true},
    {.type = own::kSysctlValue, .kind = netlink::Kind::u32, .required = true},
};

/// Prints "NAME = VALUE", as sysctl(8) does.
class Printer {
 public:
  explicit Printer(bool values_only) : values_only_(values_only) {}

  void operator()(const netlink::Message& message) const {
    const auto knob = netlink::Attributes::parse(message.attributes(), kRules);
    if (!knob) return;
    const std::uint32_t value = knob->be32(own::kSysctlValue).host();
    if (values_only_) {
      fmt::print("{}\n", value);
    } else {
      fmt::print("{} = {}\n", knob->string(own::kSysctlName), value);
    }
  }

 private:
  bool values_only_;
};

/// A number, decimal or as in C, the whole of it.
std::optional<std::uint32_t> read_value(const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789abcdefABCDEFxX") != std::string::npos) {
    return std::nullopt;
  }
  char* end = nullptr;
  errno = 0;
  const unsigned long value = std::strtoul(text.c_str(), &end, 0);
  if (errno != 0 || *end != '\0' || value > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(value);
}

netlink::Buffer request(NetlinkSocket& socket, own::Message number, const std::string& name,
                        std::optional<std::uint32_t> value) {
  netlink::Buffer buffer;
  netlink::Writer writer(buffer);
  writer.begin({.type = static_cast<std::uint16_t>(own::kSubsystem << 8 | number),
                .flags = NLM_F_REQUEST | NLM_F_ACK,
                .sequence = socket.sequence()});
  writer.put_string(own::kSysctlName, name);
  if (value) writer.put_be32(own::kSysctlValue, *value);
  writer.end();
  return buffer;
}

/// NAME or NAME=VALUE.
Result<void> show_or_set(NetlinkSocket& socket, const std::string& word, const Printer& print) {
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  if (equals != std::string::npos) {
    const std::string text = word.substr(equals + 1);
    const auto value = read_value(text);
    if (!value) return std::unexpected(Error{EINVAL, fmt::format("'{}' is not a number", text)});
    if (auto set = socket.ask(request(socket, own::kSetSysctl, name, value)); !set) return set;
  }
  return socket.ask(request(socket, own::kGetSysctls, name, {}), print);
}

/// Returns the exit code: kRefused when one of the words was.
int run(const std::vector<std::string>& words, bool shows_all, const Printer& print) {
  auto socket = NetlinkSocket::open();
  if (!socket) {
    fmt::print(stderr, "weir sysctl: {}\n", socket.error().text);
    return kRefused;
  }
  socket->ask_for_reasons();
  int code = kDone;
  const auto report = [&code](const std::string& what, const Result<void>& done) {
    if (done) return;
    fmt::print(stderr, "weir sysctl: {}: {}\n", what, done.error().text);
    code = kRefused;
  };
  if (shows_all) report("-a", socket->dump(own::kSubsystem, own::kGetSysctls, print));
  for (const std::string& word : words) report(word, show_or_set(*socket, word, print));
  return code;
}

}  // namespace

int sysctl_main(int argc, char** argv) {
  CLI::App app(
      "Shows and changes the engine's knobs: net.netfilter.nf_conntrack_* and the limits of "
      "reassembly, under the kernel's names. Changes hold at once, until the engine ends; "
      "[sysctl] in the configuration sets them at every start.",
      "weir sysctl");
  std::string socket_path;
  bool shows_all = false;
  bool values_only = false;
  std::vector<std::string> words;
  app.add_option("--socket", socket_path, "the engine's socket (default: /run/weir/weir.sock)");
  app.add_flag("-a,--all", shows_all, "show all knobs");
  app.add_flag("-n,--values", values_only, "show values without names");
  app.add_option("NAME[=VALUE]", words,
                 "a knob; net.netfilter.nf_conntrack_ may be left out of its name");
  app.footer(
      "Example:\n"
      "  weir sysctl -a\n"
      "  weir sysctl tcp_timeout_established=86400 nf_conntrack_tcp_loose");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  if (words.empty() && !shows_all) {
    fmt::print(stderr, "weir sysctl: give a NAME, NAME=VALUE, or -a\n");
    return kWrongUsage;
  }
  if (!is_under_preload()) return run_under_preload("sysctl", socket_path, argc, argv);
  return run(words, shows_all, Printer(values_only));
}

}  // namespace weir::tools
