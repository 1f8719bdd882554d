#include "control/ctnetlink/read_edit.h"

#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "helpers/list.h"

namespace weir::control::ctnetlink {
namespace {

using conntrack::Edit;
using conntrack::Extension;
using netlink::Attributes;
using netlink::Kind;

constexpr netlink::Rule kHelp[] = {
    {.type = CTA_HELP_NAME, .kind = Kind::nul_string, .max_bytes = 15},
};
constexpr netlink::Rule kProtocolInfo[] = {
    {.type = CTA_PROTOINFO_TCP, .kind = Kind::nested},
    {.type = CTA_PROTOINFO_DCCP, .kind = Kind::nested},
    {.type = CTA_PROTOINFO_SCTP, .kind = Kind::nested},
};
constexpr std::uint64_t kGreatestScale = 14;  // RFC 7323 section 2.3

constexpr netlink::Rule kTcp[] = {
    {.type = CTA_PROTOINFO_TCP_STATE,
     .kind = Kind::u8,
     .max_value = static_cast<std::uint64_t>(conntrack::TcpPhase::syn_sent2)},
    {.type = CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, .kind = Kind::u8, .max_value = kGreatestScale},
    {.type = CTA_PROTOINFO_TCP_WSCALE_REPLY, .kind = Kind::u8, .max_value = kGreatestScale},
    {.type = CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, .min_bytes = sizeof(nf_ct_tcp_flags)},
    {.type = CTA_PROTOINFO_TCP_FLAGS_REPLY, .min_bytes = sizeof(nf_ct_tcp_flags)},
};
constexpr netlink::Rule kSctp[] = {
    {.type = CTA_PROTOINFO_SCTP_STATE,
     .kind = Kind::u8,
     .required = true,
     .max_value = static_cast<std::uint64_t>(conntrack::SctpPhase::heartbeat_sent)},
    {.type = CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, .kind = Kind::u32, .required = true},
    {.type = CTA_PROTOINFO_SCTP_VTAG_REPLY, .kind = Kind::u32, .required = true},
};
constexpr netlink::Rule kDccp[] = {
    {.type = CTA_PROTOINFO_DCCP_STATE, .kind = Kind::u8, .required = true},
    {.type = CTA_PROTOINFO_DCCP_ROLE, .kind = Kind::u8, .required = true},
    {.type = CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ, .kind = Kind::u64},
};
constexpr netlink::Rule kSequence[] = {
    {.type = CTA_SEQADJ_CORRECTION_POS, .kind = Kind::u32, .required = true},
    {.type = CTA_SEQADJ_OFFSET_BEFORE, .kind = Kind::u32, .required = true},
    {.type = CTA_SEQADJ_OFFSET_AFTER, .kind = Kind::u32, .required = true},
};
constexpr netlink::Rule kSynproxy[] = {
    {.type = CTA_SYNPROXY_ISN, .kind = Kind::u32, .required = true},
    {.type = CTA_SYNPROXY_ITS, .kind = Kind::u32, .required = true},
    {.type = CTA_SYNPROXY_TSOFF, .kind = Kind::u32, .required = true},
};

/// More than this the kernel can't express (2^31 - 1 ticks of 4 ms), and cuts down to it.
constexpr std::uint32_t kLongestTimeout = 8589934;

Edit::Tcp::Flags flags_of(const netlink::Attribute& attribute) {
  if (!attribute) return {};
  const auto value = load<nf_ct_tcp_flags>(attribute.payload().data());
  return {.value = value.flags, .mask = value.mask};
}

Result<conntrack::SequenceAdjustment::Summary> read_adjustment(const netlink::Attribute& nest) {
  const auto attributes = Attributes::parse(nest.nested(), kSequence);
  if (!attributes) return std::unexpected(attributes.error());
  return conntrack::SequenceAdjustment::Summary{
      .position = attributes->be32(CTA_SEQADJ_CORRECTION_POS).host(),
      .before = static_cast<std::int32_t>(attributes->be32(CTA_SEQADJ_OFFSET_BEFORE).host()),
      .after = static_cast<std::int32_t>(attributes->be32(CTA_SEQADJ_OFFSET_AFTER).host())};
}

}  // namespace

Result<std::string_view> EditReader::helper_name() const {
  const auto help = Attributes::parse(attributes_.nested(CTA_HELP), kHelp);
  if (!help) return std::unexpected(help.error());
  if (!help->has(CTA_HELP_NAME)) return std::unexpected(help->missing(CTA_HELP_NAME));
  return help->string(CTA_HELP_NAME);
}

void EditReader::set_helper(std::uint16_t number) {
  edit_.helper = number;
  if (const helpers::Helper* helper = helpers::find(number)) {
    edit_.helper_state = helper->picked_up();
  }
}

void EditReader::read_timeout() {
  if (!attributes_.has(CTA_TIMEOUT)) return;
  const std::uint32_t seconds = attributes_.be32(CTA_TIMEOUT).host();
  edit_.timeout = std::chrono::seconds(std::min(seconds, kLongestTimeout));
}

Result<void> EditReader::read_status(std::uint32_t present) {
  if (!attributes_.has(CTA_STATUS)) return {};
  edit_.status = attributes_.be32(CTA_STATUS).host();
  const int error = conntrack::check_status(present, *edit_.status);
  if (error == 0) return {};
  return std::unexpected(
      attributes_.error(CTA_STATUS, error, "status bits that can't be changed like that"));
}

Result<void> EditReader::read_protocol(std::uint8_t protocol) {
  if (!attributes_.has(CTA_PROTOINFO)) return {};
  const auto info = Attributes::parse(attributes_.nested(CTA_PROTOINFO), kProtocolInfo);
  if (!info) return std::unexpected(info.error());
  switch (protocol) {
    case IPPROTO_TCP:
      return read_tcp(*info);
    case IPPROTO_SCTP:
      return read_sctp(*info);
    case IPPROTO_DCCP:
      return read_dccp(*info);
    default:
      return {};
  }
}

Result<void> EditReader::read_tcp(const Attributes& info) {
  if (!info.has(CTA_PROTOINFO_TCP)) return {};
  const auto tcp = Attributes::parse(info.nested(CTA_PROTOINFO_TCP), kTcp);
  if (!tcp) return std::unexpected(tcp.error());
  edit_.tcp = Edit::Tcp{};
  Edit::Tcp& edit = *edit_.tcp;
  if (tcp->has(CTA_PROTOINFO_TCP_STATE)) {
    edit.phase = static_cast<conntrack::TcpPhase>(tcp->u8(CTA_PROTOINFO_TCP_STATE));
  }
  edit.flags = {flags_of(tcp->find(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)),
                flags_of(tcp->find(CTA_PROTOINFO_TCP_FLAGS_REPLY))};
  if (tcp->has(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL) && tcp->has(CTA_PROTOINFO_TCP_WSCALE_REPLY)) {
    edit.scales = {tcp->u8(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL),
                   tcp->u8(CTA_PROTOINFO_TCP_WSCALE_REPLY)};
  }
  return {};
}

Result<void> EditReader::read_sctp(const Attributes& info) {
  if (!info.has(CTA_PROTOINFO_SCTP)) return {};
  const auto sctp = Attributes::parse(info.nested(CTA_PROTOINFO_SCTP), kSctp);
  if (!sctp) return std::unexpected(sctp.error());
  const auto phase = static_cast<conntrack::SctpPhase>(sctp->u8(CTA_PROTOINFO_SCTP_STATE));
  edit_.sctp = {.phase = phase,
                .tags = {sctp->be32(CTA_PROTOINFO_SCTP_VTAG_ORIGINAL).host(),
                         sctp->be32(CTA_PROTOINFO_SCTP_VTAG_REPLY).host()}};
  return {};
}

Result<void> EditReader::read_dccp(const Attributes& info) {
  if (!info.has(CTA_PROTOINFO_DCCP)) return {};
  const auto dccp = Attributes::parse(info.nested(CTA_PROTOINFO_DCCP), kDccp);
  if (!dccp) return std::unexpected(dccp.error());
  const std::uint8_t state = dccp->u8(CTA_PROTOINFO_DCCP_STATE);
  const std::uint8_t role = dccp->u8(CTA_PROTOINFO_DCCP_ROLE);
  if (role > 1 || state > static_cast<std::uint8_t>(conntrack::DccpPhase::timewait)) {
    return std::unexpected(
        dccp->error(CTA_PROTOINFO_DCCP_STATE, EINVAL, "no state or role of DCCP"));
  }
  edit_.dccp = Edit::Dccp{};
  Edit::Dccp& edit = *edit_.dccp;
  edit.phase = static_cast<conntrack::DccpPhase>(state);
  edit.client = static_cast<conntrack::Direction>(role);
  if (dccp->has(CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ)) {
    edit.handshake_sequence = dccp->be64(CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ).host();
  }
  return {};
}

void EditReader::read_mark() {
  if (!attributes_.has(CTA_MARK)) return;
  edit_.mark = {.value = attributes_.be32(CTA_MARK).host()};
  if (attributes_.has(CTA_MARK_MASK)) edit_.mark->mask = attributes_.be32(CTA_MARK_MASK).host();
}

Result<void> EditReader::read_sequence() {
  constexpr std::uint16_t types[] = {CTA_SEQ_ADJ_ORIG, CTA_SEQ_ADJ_REPLY};
  for (std::size_t i = 0; i < std::size(types); ++i) {
    if (!attributes_.has(types[i])) continue;
    const auto adjustment = read_adjustment(attributes_.find(types[i]));
    if (!adjustment) return std::unexpected(adjustment.error());
    edit_.sequence[i] = *adjustment;
  }
  return {};
}

Result<void> EditReader::read_synproxy() {
  if (!attributes_.has(CTA_SYNPROXY)) return {};
  const auto synproxy = Attributes::parse(attributes_.nested(CTA_SYNPROXY), kSynproxy);
  if (!synproxy) return std::unexpected(synproxy.error());
  edit_.synproxy = {synproxy->be32(CTA_SYNPROXY_ISN).host(),
                    synproxy->be32(CTA_SYNPROXY_ITS).host(),
                    synproxy->be32(CTA_SYNPROXY_TSOFF).host(), 1};
  return {};
}

Result<void> EditReader::read_labels() {
  if (!attributes_.has(CTA_LABELS)) return {};
  const Bytes labels = attributes_.raw(CTA_LABELS);
  const Bytes mask = attributes_.raw(CTA_LABELS_MASK);
  const bool has_mask = attributes_.has(CTA_LABELS_MASK);
  if (labels.size() % 4 != 0 || (has_mask && (mask.empty() || mask.size() != labels.size()))) {
    return std::unexpected(
        attributes_.error(CTA_LABELS, EINVAL, "labels and their mask are words of equal number"));
  }
  edit_.labels = Edit::Labels{};
  Edit::Labels& edit = *edit_.labels;
  edit.mask.fill(0xff);
  std::copy(labels.begin(), labels.end(), edit.value.begin());
  std::copy(mask.begin(), mask.end(), edit.mask.begin());
  return {};
}

}  // namespace weir::control::ctnetlink
