// One JSON object a line: the text's fields by name, addresses and states as strings.
#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>

#include <nlohmann/json.hpp>

#include "tools/conntrack/format.h"
#include "tools/conntrack/names.h"

namespace weir::tools::conntrack {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
void put(Json& object, const char* name, const std::optional<T>& value) {
  if (value) object[name] = *value;
}

void put(Json& object, const char* name, const std::optional<Address>& value) {
  if (value) object[name] = value->text();
}

void put_kind(Json& object, Kind kind) {
  if (kind == Kind::created) object["event"] = "new";
  if (kind == Kind::updated) object["event"] = "update";
  if (kind == Kind::destroyed) object["event"] = "destroy";
}

Json to_json(const End& end) {
  Json object = Json::object();
  put(object, "src", end.src);
  put(object, "dst", end.dst);
  const bool is_gre = end.protocol == IPPROTO_GRE;
  put(object, is_gre ? "srckey" : "sport", end.src_port);
  put(object, is_gre ? "dstkey" : "dport", end.dst_port);
  put(object, "type", end.icmp_type);
  put(object, "code", end.icmp_code);
  put(object, "id", end.icmp_id);
  put(object, "zone", end.zone);
  return object;
}

Json to_json(const End& end, const std::optional<Counters>& counters) {
  Json object = to_json(end);
  if (counters) {
    object["packets"] = counters->packets;
    object["bytes"] = counters->bytes;
  }
  return object;
}

Json status_names(std::uint32_t status) {
  Json names = Json::array();
  for (const auto& [bit, name] : {std::pair{IPS_EXPECTED, "EXPECTED"},
                                  {IPS_SEEN_REPLY, "SEEN_REPLY"},
                                  {IPS_ASSURED, "ASSURED"},
                                  {IPS_CONFIRMED, "CONFIRMED"},
                                  {IPS_SRC_NAT, "SRC_NAT"},
                                  {IPS_DST_NAT, "DST_NAT"},
                                  {IPS_DYING, "DYING"},
                                  {IPS_FIXED_TIMEOUT, "FIXED_TIMEOUT"},
                                  {IPS_HELPER, "HELPER"},
                                  {IPS_OFFLOAD, "OFFLOAD"}}) {
    if (status & static_cast<std::uint32_t>(bit)) names.push_back(name);
  }
  return names;
}

void put_protocol(Json& object, const End& end) {
  if (end.family) object["family"] = family_name(*end.family);
  if (!end.protocol) return;
  object["protocol"] = *end.protocol;
  if (const auto name = protocol_name(*end.protocol); name != "unknown")
    object["protocol_name"] = name;
}

void put_labels(Json& object, const Labels& labels, const LabelNames& names) {
  Json list = Json::array();
  for (unsigned bit = 0; bit < labels.size() * 8; ++bit) {
    if (!has_label(labels, bit)) continue;
    const std::string name = names.name(bit);
    if (name.empty()) {
      list.push_back(bit);
    } else {
      list.push_back(name);
    }
  }
  object["labels"] = std::move(list);
}

std::string dump(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string format_json(const Flow& flow, Kind kind, const Format& format) {
  Json object = Json::object();
  put_kind(object, kind);
  put(object, "id", flow.id);
  put_protocol(object, flow.original);
  put(object, "timeout", flow.timeout);
  if (flow.tcp_state) object["state"] = name_in(tcp_states(), *flow.tcp_state);
  if (flow.sctp_state) object["state"] = name_in(sctp_states(), *flow.sctp_state);
  if (flow.dccp_state) object["state"] = name_in(dccp_states(), *flow.dccp_state);
  object["original"] = to_json(flow.original, flow.original_counters);
  object["reply"] = to_json(flow.reply, flow.reply_counters);
  if (flow.status) object["status"] = status_names(*flow.status);
  put(object, "mark", flow.mark);
  put(object, "secmark", flow.secmark);
  put(object, "secctx", flow.secctx);
  put(object, "zone", flow.zone);
  put(object, "start", flow.start);
  put(object, "stop", flow.stop);
  put(object, "helper", flow.helper);
  if (flow.labels) put_labels(object, *flow.labels, format.labels);
  return dump(object);
}

std::string format_json(const Expectation& expectation, Kind kind) {
  Json object = Json::object();
  put_kind(object, kind);
  put_protocol(object, expectation.expected);
  put(object, "timeout", expectation.timeout);
  object["expected"] = to_json(expectation.expected);
  object["mask"] = to_json(expectation.mask);
  object["master"] = to_json(expectation.master);
  put(object, "zone", expectation.zone);
  const std::uint32_t flags = expectation.flags.value_or(0);
  object["permanent"] = (flags & NF_CT_EXPECT_PERMANENT) != 0;
  object["inactive"] = (flags & NF_CT_EXPECT_INACTIVE) != 0;
  object["userspace"] = (flags & NF_CT_EXPECT_USERSPACE) != 0;
  put(object, "class", expectation.expect_class);
  put(object, "helper", expectation.helper);
  return dump(object);
}

}  // namespace weir::tools::conntrack
