// The text of conntrack(8), field by field in its order.
#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>

#include <ctime>
#include <iterator>

#include "tools/conntrack/format.h"
#include "tools/conntrack/names.h"

namespace weir::tools::conntrack {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint32_t kHardwareOffload = 1 << 15;  // IPS_HW_OFFLOAD

/// A line that grows word by word, each followed by a blank.
class Line {
 public:
  template <typename... Args>
  void add(fmt::format_string<Args...> words, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), words, std::forward<Args>(args)...);
    text_ += ' ';
  }
  void strip_blank() {
    if (text_.ends_with(' ')) text_.pop_back();
  }
  std::string& text() { return text_; }

 private:
  std::string text_;
};

void add_kind(Line& line, Kind kind) {
  if (kind == Kind::created) line.add("{:>9}", "[NEW]");
  if (kind == Kind::updated) line.add("{:>9}", "[UPDATE]");
  if (kind == Kind::destroyed) line.add("{:>9}", "[DESTROY]");
}

void add_addresses(Line& line, const End& end, std::string_view src, std::string_view dst) {
  if (!end.family) return;
  const Address none{.family = *end.family, .bytes = {}};
  line.add("{}={}", src, end.src.value_or(none).text());
  line.add("{}={}", dst, end.dst.value_or(none).text());
}

void add_protocol(Line& line, const End& end) {
  switch (end.protocol.value_or(0)) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      return line.add("sport={} dport={}", end.src_port.value_or(0), end.dst_port.value_or(0));
    case IPPROTO_GRE:
      return line.add("srckey={:#x} dstkey={:#x}", end.src_port.value_or(0),
                      end.dst_port.value_or(0));
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      return line.add("type={} code={} id={}", end.icmp_type.value_or(0), end.icmp_code.value_or(0),
                      end.icmp_id.value_or(0));
    default:
      return;
  }
}

void add_counters(Line& line, const std::optional<Counters>& counters) {
  if (counters) line.add("packets={} bytes={}", counters->packets, counters->bytes);
}

std::string date(std::uint64_t nanoseconds) {
  const auto seconds = static_cast<std::time_t>(nanoseconds / kSecond);
  char text[26] = "";
  ctime_r(&seconds, text);
  return std::string(text, 24);
}

void add_state(Line& line, const Flow& flow) {
  if (flow.tcp_state) line.add("{}", name_in(tcp_states(), *flow.tcp_state));
  if (flow.sctp_state) line.add("{}", name_in(sctp_states(), *flow.sctp_state));
  if (flow.dccp_state) line.add("{}", name_in(dccp_states(), *flow.dccp_state));
}

void add_assured(Line& line, std::uint32_t status) {
  if (status & kHardwareOffload) {
    line.add("[HW_OFFLOAD]");
  } else if (status & IPS_OFFLOAD) {
    line.add("[OFFLOAD]");
  } else if (status & IPS_ASSURED) {
    line.add("[ASSURED]");
  }
}

void add_times(Line& line, const Flow& flow, bool in_full) {
  if (!flow.start) return;
  const std::uint64_t stop =
      flow.stop.value_or(0) != 0 ? *flow.stop / kSecond : static_cast<std::uint64_t>(time(nullptr));
  line.add("delta-time={}", stop - *flow.start / kSecond);
  if (!in_full) return;
  line.add("[start={}]", date(*flow.start));
  if (flow.stop) line.add("[stop={}]", date(*flow.stop));
}

void add_labels(Line& line, const Labels& labels, const LabelNames& names) {
  std::string list;
  for (unsigned bit = 0; bit < labels.size() * 8; ++bit) {
    const std::string name = has_label(labels, bit) ? names.name(bit) : std::string{};
    if (name.empty()) continue;
    if (!list.empty()) list += ',';
    list += name;
  }
  // Without a named label conntrack(8) cuts the equals sign instead of a comma.
  line.add("{}", list.empty() ? "labels" : "labels=" + list);
}

}  // namespace

std::string format_text(const Flow& flow, Kind kind, const Format& format) {
  Line line;
  add_kind(line, kind);
  if (format.with_layer3 && flow.original.family)
    line.add("{:<8} {}", family_name(*flow.original.family), *flow.original.family);
  if (flow.original.protocol)
    line.add("{:<8} {}", protocol_name(*flow.original.protocol), *flow.original.protocol);
  if (flow.timeout) line.add("{}", *flow.timeout);
  add_state(line, flow);

  add_addresses(line, flow.original, "src", "dst");
  add_protocol(line, flow.original);
  if (flow.original.zone) line.add("zone-orig={}", *flow.original.zone);
  add_counters(line, flow.original_counters);
  if (flow.status && !(*flow.status & IPS_SEEN_REPLY)) line.add("[UNREPLIED]");
  add_addresses(line, flow.reply, "src", "dst");
  add_protocol(line, flow.reply);
  if (flow.reply.zone) line.add("zone-reply={}", *flow.reply.zone);
  add_counters(line, flow.reply_counters);
  if (flow.status) add_assured(line, *flow.status);

  if (flow.mark) line.add("mark={}", *flow.mark);
  if (flow.secmark) line.add("secmark={}", *flow.secmark);
  if (flow.secctx) line.add("secctx={}", *flow.secctx);
  if (flow.zone) line.add("zone={}", *flow.zone);
  add_times(line, flow, format.with_flow_times);
  if (flow.helper) line.add("helper={}", *flow.helper);
  if (flow.use) line.add("use={}", *flow.use);
  if (format.with_id && flow.id) line.add("id={}", *flow.id);
  if (format.with_labels && flow.labels) add_labels(line, *flow.labels, format.labels);
  line.strip_blank();
  return std::move(line.text());
}

std::string format_text(const Expectation& expectation, Kind kind) {
  Line line;
  add_kind(line, kind);
  if (expectation.timeout) line.add("{}", *expectation.timeout);
  line.add("proto={}", expectation.expected.protocol.value_or(0));
  add_addresses(line, expectation.expected, "src", "dst");
  add_protocol(line, expectation.expected);
  add_addresses(line, expectation.mask, "mask-src", "mask-dst");
  add_protocol(line, expectation.mask);
  add_addresses(line, expectation.master, "master-src", "master-dst");
  add_protocol(line, expectation.master);
  if (expectation.zone) line.add("zone={}", *expectation.zone);
  if (const std::uint32_t flags = expectation.flags.value_or(0)) {
    std::string names;
    for (const auto& [flag, name] : {std::pair{NF_CT_EXPECT_PERMANENT, "PERMANENT"},
                                     {NF_CT_EXPECT_INACTIVE, "INACTIVE"},
                                     {NF_CT_EXPECT_USERSPACE, "USERSPACE"}}) {
      if (!(flags & static_cast<std::uint32_t>(flag))) continue;
      if (!names.empty()) names += ',';
      names += name;
    }
    line.add("{}", names);
  }
  if (expectation.expect_class) line.add("class={}", *expectation.expect_class);
  if (expectation.helper) line.add("helper={}", *expectation.helper);
  line.strip_blank();
  return std::move(line.text());
}

}  // namespace weir::tools::conntrack
