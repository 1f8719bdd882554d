// One line of options for `conntrack -R`, as conntrack(8) saves a table.
#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>

#include "tools/conntrack/format.h"
#include "tools/conntrack/names.h"

namespace weir::tools::conntrack {
namespace {

/// Options and their values, blank between them.
class Words {
 public:
  template <typename T>
  void add(std::string_view option, const std::optional<T>& value) {
    if (value) add(option, *value);
  }
  void add(std::string_view option, const Address& value) { add(option, value.text()); }
  template <typename T>
  void add(std::string_view option, const T& value) {
    if (!text_.empty()) text_ += ' ';
    fmt::format_to(std::back_inserter(text_), "{} {}", option, value);
  }
  void add(std::string_view word) { text_ += word; }
  std::string& text() { return text_; }

 private:
  std::string text_;
};

std::string status_names(std::uint32_t status) {
  std::string names;
  for (const auto& [bit, name] : {std::pair{IPS_EXPECTED, "EXPECTED"},
                                  {IPS_SEEN_REPLY, "SEEN_REPLY"},
                                  {IPS_ASSURED, "ASSURED"},
                                  {IPS_FIXED_TIMEOUT, "FIXED_TIMEOUT"}}) {
    if (!(status & static_cast<std::uint32_t>(bit))) continue;
    if (!names.empty()) names += ',';
    names += name;
  }
  return names.empty() ? "UNSET" : names;
}

void add_ports(Words& words, const Flow& flow) {
  words.add("--sport", flow.original.src_port);
  words.add("--dport", flow.original.dst_port);
  words.add("--reply-port-src", flow.reply.src_port);
  words.add("--reply-port-dst", flow.reply.dst_port);
}

void add_protocol(Words& words, const Flow& flow) {
  const std::uint8_t protocol = flow.original.protocol.value_or(0);
  const std::string_view name = protocol_name(protocol);
  if (name == "unknown") return words.add("-p", int{protocol});
  words.add("-p", name);
  switch (protocol) {
    case IPPROTO_ICMP:
      words.add("--icmp-type", flow.original.icmp_type);
      words.add("--icmp-code", flow.original.icmp_code);
      return words.add("--icmp-id", flow.original.icmp_id);
    case IPPROTO_ICMPV6:
      words.add("--icmpv6-type", flow.original.icmp_type);
      words.add("--icmpv6-code", flow.original.icmp_code);
      return words.add("--icmpv6-id", flow.original.icmp_id);
    case IPPROTO_GRE:
      words.add("--srckey", flow.original.src_port);
      words.add("--dstkey", flow.original.dst_port);
      words.add("--reply-key-src", flow.reply.src_port);
      return words.add("--reply-key-dst", flow.reply.dst_port);
    case IPPROTO_TCP:
      add_ports(words, flow);
      if (flow.tcp_state) words.add("--state", name_in(tcp_states(), *flow.tcp_state));
      return;
    case IPPROTO_SCTP:
      add_ports(words, flow);
      if (flow.sctp_state) words.add("--state", name_in(sctp_states(), *flow.sctp_state));
      words.add("--orig-vtag", flow.original_vtag);
      return words.add("--reply-vtag", flow.reply_vtag);
    case IPPROTO_DCCP:
      add_ports(words, flow);
      if (flow.dccp_state) words.add("--state", name_in(dccp_states(), *flow.dccp_state));
      if (flow.dccp_role) words.add("--role", name_in(dccp_roles(), *flow.dccp_role));
      return;
    default:
      return add_ports(words, flow);
  }
}

}  // namespace

std::string format_save(const Flow& flow, Kind kind) {
  Words words;
  words.add(kind == Kind::updated ? "-U" : kind == Kind::destroyed ? "-D" : "-A");
  words.add("-t", flow.timeout);
  if (flow.status) words.add("-u", status_names(*flow.status));
  words.add("-c", flow.secmark);
  words.add("-w", flow.zone);
  words.add("--orig-zone", flow.original.zone);
  words.add("--reply-zone", flow.reply.zone);
  words.add("-s", flow.original.src);
  words.add("-d", flow.original.dst);
  words.add(flow.has_destination_nat() ? "-g" : "-r", flow.reply.src);
  words.add(flow.has_source_nat() ? "-n" : "-q", flow.reply.dst);
  add_protocol(words, flow);
  return std::move(words.text());
}

}  // namespace weir::tools::conntrack
