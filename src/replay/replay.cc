#include "replay/replay.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/exit_code.h"
#include "io/pcap_port.h"
#include "replay/report.h"

namespace weir::replay {
namespace {

constexpr const char* kFooter =
    "A packet whose source is inside comes in by the inside port, any other by the outside port. "
    "Without --inside,\n"
    "private, shared, unique local and link-local addresses are inside. Answers in a capture taken "
    "before NAT are first\n"
    "mapped to the translated tuple of their flow. Needs neither root nor a network; the clock is "
    "the capture's.\n\n"
    "Examples:\n"
    "  weir replay --rules gateway.nft --inside 192.168.77.0/24 capture.pcap\n"
    "  weir replay --rules gateway.nft --explain capture.pcap | grep INVALID\n"
    "  weir replay --rules gateway.nft --outside-device ppp0 --outside-address 203.0.113.1 -w "
    "after.pcap before.pcap\n"
    "  tcpdump -r big.pcap -w - host 10.1.2.3 | weir replay --rules gateway.nft --json -\n\n"
    "Exit codes: 0 done, 1 the capture or the rules were refused, 2 wrong usage.";

int refuse(const Error& error, int code) {
  fmt::print(stderr, "weir replay: {}\n", error.text);
  return code;
}

struct CommandLine {
  Options options;
  std::vector<std::string> inside;
  std::vector<std::string> inside_addresses;
  std::vector<std::string> outside_addresses;
};

void add_options(CLI::App& app, CommandLine& line) {
  Options& o = line.options;
  const auto list = [](CLI::Option* option) { option->delimiter(',')->allow_extra_args(false); };
  app.add_option("capture", o.capture, "the capture, pcap or pcapng; - is standard input")
      ->type_name("IN.pcap")
      ->required();
  app.add_option("--rules", o.rules, "the ruleset, a file for nft -f")
      ->type_name("FILE.nft")
      ->required();
  list(app.add_option("--inside", line.inside,
                      "a prefix whose addresses are inside; more than once, or separated by commas")
           ->type_name("PREFIX"));
  app.add_option("--inside-device", o.inside_device,
                 "the inside port's name in rules (default: lan0)")
      ->type_name("NAME");
  app.add_option("--outside-device", o.outside_device,
                 "the outside port's name in rules (default: wan0)")
      ->type_name("NAME");
  list(app.add_option("--inside-address", line.inside_addresses,
                      "the gateway's address inside (default: 192.0.2.129 and 2001:db8:fffe::1)")
           ->type_name("ADDRESS"));
  list(app.add_option("--outside-address", line.outside_addresses,
                      "the gateway's address outside, masquerade's (default: 192.0.2.1 and "
                      "2001:db8:ffff::1)")
           ->type_name("ADDRESS"));
  app.add_option("--mtu", o.mtu_bytes, "of both ports (default: 1500)")
      ->check(CLI::Range(1280, 65535))
      ->type_name("BYTES");
  app.add_option("--conntrack-max", o.conntrack_max, "connections at a time (default: 65536)")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("COUNT");
  app.add_flag("--strict-checksums", o.strict_checksums,
               "take checksums that the sender's device was still to finish for wrong");
  app.add_flag("--json", o.as_json, "one JSON object");
  app.add_flag("--explain", o.explain, "for each packet what decided, and why it is INVALID");
  app.add_option("-w", o.write_path, "write what leaves the ports to this capture")
      ->type_name("OUT.pcap");
  app.footer(kFooter);
}

Result<void> read_addresses(const std::vector<std::string>& texts,
                            std::vector<wire::FamilyAddress>& addresses) {
  for (const std::string& text : texts) {
    const auto address = wire::parse_address(text);
    if (!address) return std::unexpected(Error{EINVAL, text + " is no IP address"});
    addresses.push_back(*address);
  }
  return {};
}

Result<Options> finish(CommandLine line) {
  for (const std::string& text : line.inside) {
    const auto prefix = wire::parse_prefix(text);
    if (!prefix)
      return std::unexpected(
          Error{EINVAL, text + " is no prefix; write 192.168.0.0/16 or 2001:db8::/32"});
    line.options.inside.push_back(*prefix);
  }
  if (auto read = read_addresses(line.inside_addresses, line.options.inside_addresses); !read)
    return std::unexpected(read.error());
  if (auto read = read_addresses(line.outside_addresses, line.options.outside_addresses); !read)
    return std::unexpected(read.error());
  for (const std::string& device : {line.options.inside_device, line.options.outside_device}) {
    if (device.empty() || device.size() > 15)
      return std::unexpected(Error{EINVAL, "a device name has 1 to 15 characters: " + device});
  }
  std::error_code error;
  if (!line.options.write_path.empty() &&
      std::filesystem::equivalent(line.options.write_path, line.options.capture, error)) {
    return std::unexpected(Error{EINVAL, "-w would overwrite the capture that is read"});
  }
  if (line.options.inside_device == line.options.outside_device) {
    return std::unexpected(
        Error{EINVAL, "the inside and the outside device must have different names"});
  }
  return std::move(line.options);
}

/// Gathers the stories for the JSON object.
class ArrayTeller final : public StoryTeller {
 public:
  void tell(const PacketStory& story) override { stories_.push_back(story_object(story)); }
  nlohmann::ordered_json take() { return std::move(stories_); }

 private:
  nlohmann::ordered_json stories_ = nlohmann::ordered_json::array();
};

void print_json(const Options& options, Player& player, ArrayTeller& stories) {
  nlohmann::ordered_json object = report_object(options, player);
  if (options.explain) object["explain"] = stories.take();
  fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

int replay(const Options& options) {
  auto reader = io::PcapPort::open({.read_path = options.capture, .write_path = {}});
  if (!reader) return refuse(reader.error(), kRefused);
  auto player = Player::create(options);
  if (!player) return refuse(player.error(), kRefused);
  if (auto loaded = (*player)->load_rules(options.rules); !loaded)
    return refuse(loaded.error(), kRefused);
  std::unique_ptr<io::PcapPort> writer;
  if (!options.write_path.empty()) {
    auto opened = io::PcapPort::open({.read_path = {}, .write_path = options.write_path});
    if (!opened) return refuse(opened.error(), kRefused);
    writer = std::move(*opened);
  }

  LineTeller lines;
  ArrayTeller array;
  StoryTeller* const teller = !options.explain  ? nullptr
                              : options.as_json ? static_cast<StoryTeller*>(&array)
                                                : &lines;
  (*player)->play(**reader, writer.get(), teller);

  if (options.as_json) {
    print_json(options, **player, array);
  } else {
    print_report(options, **player);
  }
  std::fflush(stdout);
  if (const auto unread = (*reader)->counters().rx_missed.value(); unread != 0) {
    fmt::print(stderr,
               "weir replay: {} frames of {} were passed over: cut within their link header, or "
               "longer than 64 KB\n",
               unread, options.capture);
  }
  if (writer) {
    if (auto flushed = writer->flush(); !flushed) return refuse(flushed.error(), kRefused);
  }
  if ((*reader)->read_error()) {
    return refuse({EIO, fmt::format("{} breaks off after {} packets: {}", options.capture,
                                    (*player)->totals().read, (*reader)->read_error()->text)},
                  kRefused);
  }
  if (!(*reader)->is_finished())
    return refuse({ENOBUFS, "no packet buffer was left; the replay is incomplete"}, kRefused);
  return kDone;
}

}  // namespace

int replay_main(int argc, char** argv) {
  CLI::App app(
      "Sends a capture through the engine: connection tracking, NAT and nf_tables rules, as a "
      "gateway would have.",
      "weir replay");
  CommandLine line;
  add_options(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  const auto options = finish(std::move(line));
  if (!options) return refuse(options.error(), kWrongUsage);
  return replay(*options);
}

}  // namespace weir::replay
