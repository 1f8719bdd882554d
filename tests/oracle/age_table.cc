#include "tests/oracle/age_table.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace weir::test {

namespace {

struct Entry {
  std::uint8_t family = 0;
  std::vector<std::uint8_t> tuple;  // CTA_TUPLE_ORIG's contents.
  std::uint32_t timeout_seconds = 0;
};

using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

nlmsghdr* start(std::vector<char>& buffer, std::uint16_t type, std::uint16_t flags,
                std::uint8_t family) {
  std::ranges::fill(buffer, 0);
  nlmsghdr* const message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
  message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  message->nlmsg_seq = 1;
  auto* const header =
      static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  header->nfgen_family = family;
  header->version = NFNETLINK_V0;
  return message;
}

int read_attribute(const nlattr* attribute, void* to) {
  auto& entry = *static_cast<Entry*>(to);
  const auto type = mnl_attr_get_type(attribute);
  const auto* const at = static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute));
  if (type == CTA_TUPLE_ORIG) entry.tuple.assign(at, at + mnl_attr_get_payload_len(attribute));
  if (type == CTA_TIMEOUT) entry.timeout_seconds = ntohl(mnl_attr_get_u32(attribute));
  return MNL_CB_OK;
}

int read_entry(const nlmsghdr* message, void* to) {
  Entry entry;
  entry.family = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message))->nfgen_family;
  mnl_attr_parse(message, sizeof(nfgenmsg), read_attribute, &entry);
  static_cast<std::vector<Entry>*>(to)->push_back(std::move(entry));
  return MNL_CB_OK;
}

Result<void> exchange(mnl_socket* socket, const nlmsghdr* message, mnl_cb_t callback, void* data) {
  if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0) {
    return std::unexpected(system_error("ctnetlink"));
  }
  std::vector<char> buffer(16384);
  for (;;) {
    const ssize_t length = mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
    if (length < 0) return std::unexpected(system_error("ctnetlink"));
    const int more = mnl_cb_run(buffer.data(), static_cast<std::size_t>(length), 1,
                                mnl_socket_get_portid(socket), callback, data);
    if (more < 0) return std::unexpected(system_error("ctnetlink"));
    if (more == MNL_CB_STOP) return {};
  }
}

}  // namespace

Result<void> age_table(Duration time) {
  const Socket socket(mnl_socket_open(NETLINK_NETFILTER), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return std::unexpected(system_error("ctnetlink"));
  }
  std::vector<char> buffer(8192);
  std::vector<Entry> entries;
  const auto dumped = exchange(
      socket.get(), start(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC), read_entry, &entries);
  if (!dumped) return dumped;
  const auto seconds =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(time).count());
  for (const Entry& entry : entries) {
    nlmsghdr* const message = start(buffer, IPCTNL_MSG_CT_NEW, NLM_F_ACK, entry.family);
    mnl_attr_put(message, CTA_TUPLE_ORIG | NLA_F_NESTED, entry.tuple.size(), entry.tuple.data());
    const std::uint32_t left = entry.timeout_seconds - std::min(entry.timeout_seconds, seconds);
    mnl_attr_put_u32(message, CTA_TIMEOUT, htonl(left));
    const auto updated = exchange(socket.get(), message, nullptr, nullptr);
    if (!updated && updated.error().code != ENOENT) return updated;
  }
  return {};
}

}  // namespace weir::test
