// Where facts of a device come from: ethtool (driver, queues, offloads), rtnetlink (kind, MTU, a
// veth's peer and its namespace) and the kernel's netdev family (what XDP the driver has). A veth's
// peer mostly lives in another network namespace, which we know only by a number; its name or a
// process in it is found by trying, and a socket that was made there answers for it.
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

#include "base/file_descriptor.h"
#include "io/choose.h"
#include "io/ethtool.h"

namespace weir::io {
namespace {

/// The netdev family of generic netlink (Documentation/netlink/specs/netdev.yaml).
constexpr std::uint8_t kNetdevGet = 1;
constexpr std::uint16_t kNetdevIfindex = 1;
constexpr std::uint16_t kNetdevXdpFeatures = 3;

constexpr std::size_t kMessageBytes = 16384;

using OnMessage = std::function<void(const nlmsghdr*)>;

/// One netlink request and its answer, if there is one.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags) : header_(mnl_nlmsg_put_header(bytes_.data())) {
    header_->nlmsg_type = type;
    header_->nlmsg_flags = NLM_F_REQUEST | flags;
    header_->nlmsg_seq = 1;
  }
  nlmsghdr* header() { return header_; }
  template <typename T>
  T& extra() {
    return *static_cast<T*>(mnl_nlmsg_put_extra_header(header_, sizeof(T)));
  }

  /// False when the kernel refused.
  bool ask(int bus, const OnMessage& on_message) {
    mnl_socket* const socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
    if (socket == nullptr) return false;
    const bool is_answered = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
                             mnl_socket_sendto(socket, header_, header_->nlmsg_len) > 0 &&
                             receive(socket, on_message);
    mnl_socket_close(socket);
    return is_answered;
  }

 private:
  static bool receive(mnl_socket* socket, const OnMessage& on_message) {
    std::array<char, kMessageBytes> answer;
    const ssize_t received = mnl_socket_recvfrom(socket, answer.data(), answer.size());
    int left = static_cast<int>(received);
    const auto* message = reinterpret_cast<const nlmsghdr*>(answer.data());
    if (received <= 0 || !mnl_nlmsg_ok(message, left) || message->nlmsg_type == NLMSG_ERROR)
      return false;
    on_message(message);
    return true;
  }

  alignas(nlmsghdr) std::array<char, 1024> bytes_{};
  nlmsghdr* header_;
};

/// The first attribute of this type between two addresses; null when there is none.
const nlattr* find_between(const void* begin, const void* end, std::uint16_t type) {
  const auto* attribute = static_cast<const nlattr*>(begin);
  const auto left = [&] {
    return static_cast<int>(static_cast<const char*>(end) -
                            reinterpret_cast<const char*>(attribute));
  };
  for (; mnl_attr_ok(attribute, left()); attribute = mnl_attr_next(attribute)) {
    if (mnl_attr_get_type(attribute) == type) return attribute;
  }
  return nullptr;
}

const nlattr* find(const nlmsghdr* message, std::size_t header_bytes, std::uint16_t type) {
  return find_between(mnl_nlmsg_get_payload_offset(message, header_bytes),
                      mnl_nlmsg_get_payload_tail(message), type);
}

const nlattr* find_in(const nlattr* nest, std::uint16_t type) {
  const auto* const payload = static_cast<const char*>(mnl_attr_get_payload(nest));
  return find_between(payload, payload + mnl_attr_get_payload_len(nest), type);
}

/// Where a veth's other end is.
struct Peer {
  std::uint32_t ifindex = 0;
  int namespace_id = -1;  // As this namespace numbers it; negative: this one.
};

Peer read_link(DeviceFacts& facts) {
  Peer peer;
  Request request(RTM_GETLINK, 0);
  request.extra<ifinfomsg>().ifi_index = static_cast<int>(facts.ifindex);
  request.ask(NETLINK_ROUTE, [&](const nlmsghdr* message) {
    const auto attribute = [&](std::uint16_t type) {
      return find(message, sizeof(ifinfomsg), type);
    };
    if (const nlattr* mtu = attribute(IFLA_MTU)) facts.mtu = mnl_attr_get_u32(mtu);
    if (const nlattr* info = attribute(IFLA_LINKINFO)) {
      if (const nlattr* kind = find_in(info, IFLA_INFO_KIND)) facts.kind = mnl_attr_get_str(kind);
    }
    if (const nlattr* link = attribute(IFLA_LINK)) peer.ifindex = mnl_attr_get_u32(link);
    if (const nlattr* id = attribute(IFLA_LINK_NETNSID))
      peer.namespace_id = static_cast<int>(mnl_attr_get_u32(id));
  });
  return peer;
}

std::optional<std::uint64_t> read_xdp_features(std::uint32_t ifindex) {
  std::uint16_t family = 0;
  Request find_family(GENL_ID_CTRL, 0);
  find_family.extra<genlmsghdr>() = {.cmd = CTRL_CMD_GETFAMILY, .version = 1, .reserved = 0};
  mnl_attr_put_strz(find_family.header(), CTRL_ATTR_FAMILY_NAME, "netdev");
  find_family.ask(NETLINK_GENERIC, [&](const nlmsghdr* message) {
    if (const nlattr* id = find(message, sizeof(genlmsghdr), CTRL_ATTR_FAMILY_ID))
      family = mnl_attr_get_u16(id);
  });
  if (family == 0) return std::nullopt;

  std::optional<std::uint64_t> features;
  Request get(family, 0);
  get.extra<genlmsghdr>() = {.cmd = kNetdevGet, .version = 1, .reserved = 0};
  mnl_attr_put_u32(get.header(), kNetdevIfindex, ifindex);
  get.ask(NETLINK_GENERIC, [&](const nlmsghdr* message) {
    if (const nlattr* bits = find(message, sizeof(genlmsghdr), kNetdevXdpFeatures))
      features = mnl_attr_get_u64(bits);
  });
  return features;
}

/// The number that this namespace has for that of `fd`; -1 when it has none.
int namespace_id_of(int fd) {
  int id = -1;
  Request request(RTM_GETNSID, 0);
  request.extra<rtgenmsg>().rtgen_family = AF_UNSPEC;
  mnl_attr_put_u32(request.header(), NETNSA_FD, static_cast<std::uint32_t>(fd));
  request.ask(NETLINK_ROUTE, [&](const nlmsghdr* message) {
    if (const nlattr* found = find(message, sizeof(rtgenmsg), NETNSA_NSID))
      id = static_cast<int>(mnl_attr_get_u32(found));
  });
  return id;
}

FileDescriptor find_namespace(int id) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<fs::path> paths;
  for (const char* folder : {"/run/netns", "/run/docker/netns"}) {
    for (const auto& entry : fs::directory_iterator(folder, error)) paths.push_back(entry.path());
  }
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos)
      paths.push_back(entry.path() / "ns/net");
  }
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const fs::path& path : paths) {
    FileDescriptor found(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status{};
    if (!found.is_open() || fstat(found.get(), &status) != 0) continue;
    if (!seen.insert({status.st_dev, status.st_ino}).second) continue;
    if (namespace_id_of(found.get()) == id) return found;
  }
  return {};
}

FileDescriptor control_socket() {
  return FileDescriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

/// A socket of that namespace; closed when we may not enter it.
FileDescriptor socket_in(const FileDescriptor& there) {
  const FileDescriptor here(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!here.is_open() || !there.is_open() || setns(there.get(), CLONE_NEWNET) != 0) return {};
  FileDescriptor made = control_socket();
  if (setns(here.get(), CLONE_NEWNET) != 0) return {};
  return made;
}

std::optional<Offloads> read_peer(const Peer& peer) {
  const FileDescriptor control =
      peer.namespace_id < 0 ? control_socket() : socket_in(find_namespace(peer.namespace_id));
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(peer.ifindex);
  if (!control.is_open() || ioctl(control.get(), SIOCGIFNAME, &request) != 0) return std::nullopt;
  const auto facts = read_ethtool(control.get(), request.ifr_name);
  if (!facts) return std::nullopt;
  return facts->offloads;
}

}  // namespace

Result<DeviceFacts> read_device_facts(const std::string& device) {
  DeviceFacts facts;
  facts.device = device;
  facts.ifindex = if_nametoindex(device.c_str());
  if (facts.ifindex == 0)
    return std::unexpected(
        Error{ENODEV, "there is no device " + device + "; `ip link` lists them"});
  const FileDescriptor control = control_socket();
  if (!control.is_open()) return std::unexpected(system_error("socket"));
  auto ethtool = read_ethtool(control.get(), device);
  if (!ethtool) return std::unexpected(ethtool.error());
  facts.driver = ethtool->driver;
  facts.rx_queues = ethtool->rx_queues;
  facts.own = ethtool->offloads;
  const Peer peer = read_link(facts);
  if (facts.kind == "veth") facts.peer = read_peer(peer);
  facts.xdp_features = read_xdp_features(facts.ifindex);
  return facts;
}

}  // namespace weir::io
