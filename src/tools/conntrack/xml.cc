// The XML of conntrack(8): one <flow> a line.
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

class Xml {
 public:
  template <typename... Args>
  void add(fmt::format_string<Args...> text, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), text, std::forward<Args>(args)...);
  }
  template <typename T>
  void element(std::string_view name, const std::optional<T>& value) {
    if (value) add("<{0}>{1}</{0}>", name, *value);
  }
  std::string& text() { return text_; }

 private:
  std::string text_;
};

std::string_view flow_tag(Kind kind) {
  switch (kind) {
    case Kind::created:
      return "<flow type=\"new\">";
    case Kind::updated:
      return "<flow type=\"update\">";
    case Kind::destroyed:
      return "<flow type=\"destroy\">";
    case Kind::entry:
      break;
  }
  return "<flow>";
}

void add_address(Xml& xml, std::string_view name, const std::optional<Address>& address) {
  xml.add("<{0}>{1}</{0}>", name, address ? address->text() : std::string{});
}

void add_ports(Xml& xml, const End& end) {
  switch (end.protocol.value_or(0)) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      return xml.add("<sport>{}</sport><dport>{}</dport>", end.src_port.value_or(0),
                     end.dst_port.value_or(0));
    case IPPROTO_GRE:
      return xml.add("<srckey>{:#x}</srckey><dstkey>{:#x}</dstkey>", end.src_port.value_or(0),
                     end.dst_port.value_or(0));
    default:
      return;
  }
}

void add_layer_tag(Xml& xml, int layer, std::uint8_t number, std::string_view name) {
  xml.add("<layer{} protonum=\"{}\" protoname=\"{}\">", layer, number, name);
}

void add_tuple(Xml& xml, std::string_view direction, const End& end,
               const std::optional<Counters>& counters) {
  xml.add("<meta direction=\"{}\">", direction);
  add_layer_tag(xml, 3, end.family.value_or(0), family_name(end.family.value_or(0)));
  add_address(xml, "src", end.src);
  add_address(xml, "dst", end.dst);
  xml.add("</layer3>");
  add_layer_tag(xml, 4, end.protocol.value_or(0), protocol_name(end.protocol.value_or(0)));
  add_ports(xml, end);
  xml.add("</layer4>");
  xml.element("zone", end.zone);
  if (counters) {
    xml.add("<counters><packets>{}</packets><bytes>{}</bytes></counters>", counters->packets,
            counters->bytes);
  }
  xml.add("</meta>");
}

void add_labels(Xml& xml, const Labels& labels, const LabelNames& names) {
  xml.add("<labels>");
  for (unsigned bit = 0; bit < labels.size() * 8; ++bit) {
    const std::string name = has_label(labels, bit) ? names.name(bit) : std::string{};
    if (!name.empty()) xml.add("<label>{}</label>", name);
  }
  xml.add("</labels>");
}

void add_times(Xml& xml, const Flow& flow, bool in_full) {
  if (in_full && (flow.start || flow.stop)) {
    xml.add("<timestamp>");
    xml.element("start", flow.start);
    xml.element("stop", flow.stop);
    xml.add("</timestamp>");
  }
  if (!flow.start) return;
  const std::uint64_t delta =
      flow.stop ? (*flow.stop - *flow.start) / kSecond
                : static_cast<std::uint64_t>(time(nullptr)) - *flow.start / kSecond;
  xml.add("<deltatime>{}</deltatime>", delta);
}

bool has_independent(const Flow& flow) {
  return flow.tcp_state || flow.sctp_state || flow.dccp_state || flow.timeout || flow.mark ||
         flow.secmark || flow.zone || flow.use || flow.status || flow.id || flow.labels ||
         flow.start || flow.stop;
}

void add_independent(Xml& xml, const Flow& flow, const Format& format) {
  if (!has_independent(flow)) return;
  xml.add("<meta direction=\"independent\">");
  // conntrack(8) names the states of all protocols by TCP's.
  for (const auto& state : {flow.tcp_state, flow.sctp_state, flow.dccp_state}) {
    if (state) xml.add("<state>{}</state>", name_in(tcp_states(), *state));
  }
  xml.element("timeout", flow.timeout);
  xml.element("mark", flow.mark);
  if (format.with_labels && flow.labels) add_labels(xml, *flow.labels, format.labels);
  xml.element("secmark", flow.secmark);
  xml.element("secctx", flow.secctx);
  xml.element("zone", flow.zone);
  xml.element("use", flow.use);
  xml.element("id", flow.id);
  if (flow.status && (*flow.status & IPS_ASSURED)) xml.add("<assured/>");
  if (flow.status && !(*flow.status & IPS_SEEN_REPLY)) xml.add("<unreplied/>");
  add_times(xml, flow, format.with_flow_times);
  xml.add("</meta>");
}

void add_when(Xml& xml) {
  const std::time_t now = time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  xml.add(
      "<when><hour>{}</hour><min>{:02}</min><sec>{:02}</sec><wday>{}</wday><day>{}</day>"
      "<month>{}</month><year>{}</year></when>",
      local.tm_hour, local.tm_min, local.tm_sec, local.tm_wday + 1, local.tm_mday, local.tm_mon + 1,
      1900 + local.tm_year);
}

void add_addresses_of(Xml& xml, std::string_view name, const End& end) {
  xml.add("<{}>", name);
  add_address(xml, "src", end.src);
  add_address(xml, "dst", end.dst);
  xml.add("</{}>", name);
}

void add_ports_of(Xml& xml, std::string_view name, const End& end) {
  xml.add("<{}>", name);
  add_ports(xml, end);
  xml.add("</{}>", name);
}

}  // namespace

std::string format_xml(const Flow& flow, Kind kind, const Format& format) {
  Xml xml;
  xml.add("{}", flow_tag(kind));
  // Both directions have counters when the original one has (libnetfilter_conntrack asks that one).
  const bool counted = flow.original_counters.has_value();
  add_tuple(xml, "original", flow.original, flow.original_counters);
  add_tuple(xml, "reply", flow.reply,
            counted ? std::optional(flow.reply_counters.value_or(Counters{})) : std::nullopt);
  add_independent(xml, flow, format);
  if (format.with_time && kind != Kind::entry) add_when(xml);
  xml.element("helper", flow.helper);
  xml.add("</flow>");
  return std::move(xml.text());
}

std::string format_xml(const Expectation& expectation, Kind kind, const Format& format) {
  Xml xml;
  const End& expected = expectation.expected;
  xml.add("{}", flow_tag(kind));
  add_layer_tag(xml, 3, expected.family.value_or(0), family_name(expected.family.value_or(0)));
  add_addresses_of(xml, "expected", expected);
  add_addresses_of(xml, "mask", expectation.mask);
  add_addresses_of(xml, "master", expectation.master);
  xml.add("</layer3>");
  add_layer_tag(xml, 4, expected.protocol.value_or(0),
                protocol_name(expected.protocol.value_or(0)));
  add_ports_of(xml, "expected", expected);
  add_ports_of(xml, "mask", expectation.mask);
  add_ports_of(xml, "master", expectation.master);
  xml.add("</layer4><meta>");
  xml.element("helper-name", expectation.helper);
  xml.element("timeout", expectation.timeout);
  xml.element("class", expectation.expect_class);
  xml.element("zone", expectation.zone);
  if (format.with_time) add_when(xml);
  const std::uint32_t flags = expectation.flags.value_or(0);
  if (flags & NF_CT_EXPECT_PERMANENT) xml.add("<permanent/>");
  if (flags & NF_CT_EXPECT_INACTIVE) xml.add("<inactive/>");
  if (flags & NF_CT_EXPECT_USERSPACE) xml.add("<userspace/>");
  xml.add("</meta></flow>");
  return std::move(xml.text());
}

}  // namespace weir::tools::conntrack
