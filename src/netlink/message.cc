#include "netlink/message.h"

#include <algorithm>

namespace weir::netlink {
namespace {

void append(Buffer& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

void append_attribute(Buffer& out, std::uint16_t type, Bytes payload) {
  const nlattr header{
      .nla_len = static_cast<std::uint16_t>(Attribute::kHeaderBytes + payload.size()),
      .nla_type = type};
  append(out, as_bytes(header));
  append(out, payload);
  out.resize(align(static_cast<std::uint32_t>(out.size())));
}

/// The texts and offsets behind an NLMSG_ERROR, in the order of the kernel's netlink_ack_tlv_fill.
void append_explanation(Buffer& out, const Error& error) {
  if (!error.text.empty()) {
    const auto* text = reinterpret_cast<const std::uint8_t*>(error.text.c_str());
    append_attribute(out, NLMSGERR_ATTR_MSG, {text, error.text.size() + 1});
  }
  if (!error.missing && error.offset) {
    append_attribute(out, NLMSGERR_ATTR_OFFS, as_bytes(error.offset));
  }
  if (error.missing) {
    const std::uint32_t type = error.missing;
    append_attribute(out, kErrorMissingType, as_bytes(type));
    if (error.offset) append_attribute(out, kErrorMissingNest, as_bytes(error.offset));
  }
}

bool has_explanation(const Error& error) {
  return error.code && (!error.text.empty() || error.offset || error.missing);
}

}  // namespace

std::optional<Message> Message::take(Bytes& datagram) {
  if (datagram.size() < kHeaderBytes) return {};
  const auto header = load<nlmsghdr>(datagram.data());
  if (header.nlmsg_len < kHeaderBytes || header.nlmsg_len > datagram.size()) return {};
  const Message message(header, datagram.first(header.nlmsg_len));
  // The last message may lack its padding.
  const std::size_t step = std::min<std::size_t>(align(header.nlmsg_len), datagram.size());
  datagram = datagram.subspan(step);
  return message;
}

nfgenmsg Message::family() const {
  return has_family() ? load<nfgenmsg>(bytes_.data() + kHeaderBytes) : nfgenmsg{};
}

std::uint16_t Message::resource_id() const { return Be16{family().res_id}.host(); }

Region Message::attributes() const {
  if (!has_family()) return {};
  return {bytes_.subspan(kHeaderBytes + kFamilyBytes), kHeaderBytes + kFamilyBytes};
}

void append_ack(Buffer& out, const Message& request, const Error& error,
                const AckOptions& options) {
  const std::size_t start = out.size();
  const bool is_capped = !error.code || options.capped;
  const bool is_explained = options.extended && has_explanation(error);

  nlmsghdr header{};
  header.nlmsg_type = NLMSG_ERROR;
  header.nlmsg_seq = request.sequence();
  header.nlmsg_pid = options.port_id;
  if (is_capped) header.nlmsg_flags |= NLM_F_CAPPED;
  if (is_explained) header.nlmsg_flags |= NLM_F_ACK_TLVS;

  append(out, as_bytes(header));
  append(out, as_bytes(std::int32_t{-error.code}));
  append(out, is_capped ? request.bytes().first(Message::kHeaderBytes) : request.bytes());
  out.resize(start + align(static_cast<std::uint32_t>(out.size() - start)));
  if (is_explained) append_explanation(out, error);

  header.nlmsg_len = static_cast<std::uint32_t>(out.size() - start);
  store(out.data() + start, header);
}

void append_done(Buffer& out, std::uint32_t sequence, int status, std::uint16_t extra_flags,
                 std::uint32_t port_id) {
  nlmsghdr header{};
  header.nlmsg_len = Message::kHeaderBytes + sizeof(std::int32_t);
  header.nlmsg_type = NLMSG_DONE;
  header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_MULTI | extra_flags);
  header.nlmsg_seq = sequence;
  header.nlmsg_pid = port_id;
  append(out, as_bytes(header));
  append(out, as_bytes(std::int32_t{status}));
}

}  // namespace weir::netlink
