// The part of an AF_XDP port that needs privileges: the program, its maps and its attachment, and
// sockets that are in the program's map and have their memory before they are bound to the device.
// Whoever gets the descriptors does the rest (xdp_socket.cc) without rights of its own.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "io/af_packet.h"
#include "io/af_xdp.h"
#include "io/bpf/live_slot.h"
#include "io/bpf/xdp_bpf_object.h"
#include "io/choose.h"
#include "io/fd_mapping.h"

namespace weir::io {
namespace {

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, ObjectCloser>;

std::unexpected<Error> failed(int error, const std::string& what) {
  return std::unexpected(Error{error, fmt::format("{}: {}", what, std::strerror(error))});
}

/// As the program's read-only variables lie.
struct Constants {
  std::uint32_t port_ifindex;
  std::uint32_t is_generic;
};

Result<Object> load_program(const XdpOptions& options, std::uint32_t rx_queues, bool is_generic) {
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  LIBBPF_OPTS(bpf_object_open_opts, open_options, .object_name = "weir_xdp");
  Object object(bpf_object__open_mem(kXdpBpfObject, sizeof kXdpBpfObject, &open_options));
  if (!object) return std::unexpected(system_error("opening the XDP program"));
  const auto map = [&](const char* name) {
    return bpf_object__find_map_by_name(object.get(), name);
  };
  const auto workers = static_cast<std::uint32_t>(options.has_live_frames ? options.workers : 1);
  const std::uint32_t slots = options.has_live_frames ? workers * WEIR_LIVE_SLOTS : 1;
  const Constants constants{.port_ifindex = options.ifindex, .is_generic = is_generic};
  bpf_map* const rodata = map("weir_xdp.rodata");
  if (rodata == nullptr || bpf_map__set_initial_value(rodata, &constants, sizeof constants) != 0 ||
      bpf_map__set_max_entries(map("sockets"), rx_queues) != 0 ||
      bpf_map__set_max_entries(map("slots"), slots) != 0 ||
      bpf_map__set_max_entries(map("control"), workers) != 0) {
    return std::unexpected(Error{EINVAL, "the XDP program is not as expected; rebuild weir"});
  }
  if (const int error = bpf_object__load(object.get()); error != 0)
    return failed(-error, "loading the XDP program (needs CAP_BPF and CAP_NET_ADMIN)");
  return object;
}

FileDescriptor copy_of(int fd) { return FileDescriptor(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

/// A program that is loaded and attached.
struct Attached {
  Object object;
  int program = -1;
  FileDescriptor link;

  int map(const char* name) const { return bpf_object__find_map_fd_by_name(object.get(), name); }
};

Result<Attached> attach(const XdpOptions& options, std::uint32_t rx_queues, bool is_generic) {
  auto object = load_program(options, rx_queues, is_generic);
  if (!object) return std::unexpected(object.error());
  Attached made{.object = std::move(*object), .program = -1, .link = {}};
  made.program = bpf_program__fd(bpf_object__find_program_by_name(made.object.get(), "weir_xdp"));
  LIBBPF_OPTS(bpf_link_create_opts, link_options,
              .flags = is_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
  const int link =
      bpf_link_create(made.program, static_cast<int>(options.ifindex), BPF_XDP, &link_options);
  if (link < 0) {
    const char* const hint = link == -EBUSY ? " (it has another XDP program)" : "";
    return failed(-link, fmt::format("XDP program on {}{}", options.device, hint));
  }
  made.link = FileDescriptor(link);
  return made;
}

/// Of the frame, what the kernel keeps before it, and room for it: 2048 or 4096.
std::uint32_t frame_bytes_for(std::uint32_t mtu) {
  constexpr std::uint32_t kKernelHeadroom = 256;  // XDP_PACKET_HEADROOM.
  constexpr std::uint32_t kLinkBytes = 14 + 2 * 4;
  return mtu + kLinkBytes + kKernelHeadroom <= 2048 ? 2048 : 4096;
}

/// Registering locks the memory, which is why it is done here.
Result<void> register_memory(XdpDescriptors& made, std::uint32_t frame_bytes) {
  const std::size_t share = (kXdpFrames + kXdpSendFrames) * std::size_t{frame_bytes};
  made.memory = FileDescriptor(memfd_create("weir-frames", MFD_CLOEXEC));
  const int fd = made.memory.get();
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(share * made.sockets.size())) != 0)
    return std::unexpected(system_error("AF_XDP: memory for frames"));
  for (std::size_t i = 0; i < made.sockets.size(); ++i) {
    const auto mapped =
        FdMapping::map(fd, static_cast<off_t>(share * i), share, "AF_XDP: mapping the frames");
    if (!mapped) return std::unexpected(mapped.error());
    xdp_umem_reg registration{};
    registration.addr = reinterpret_cast<std::uint64_t>(mapped->data());
    registration.len = share;
    registration.chunk_size = frame_bytes;
    if (setsockopt(made.sockets[i].get(), SOL_XDP, XDP_UMEM_REG, &registration,
                   sizeof registration) != 0)
      return std::unexpected(system_error("AF_XDP: registering memory"));
  }
  return {};
}

/// A socket with a receive ring, which the map insists on.
Result<FileDescriptor> open_socket(int map, std::uint32_t queue) {
  FileDescriptor made(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!made.is_open()) return std::unexpected(system_error("AF_XDP socket (needs CAP_NET_RAW)"));
  const std::uint32_t entries = kXdpFrames;
  if (setsockopt(made.get(), SOL_XDP, XDP_RX_RING, &entries, sizeof entries) != 0)
    return std::unexpected(system_error("AF_XDP: receive ring"));
  const int fd = made.get();
  if (const int error = bpf_map_update_elem(map, &queue, &fd, BPF_ANY); error != 0)
    return failed(-error, "AF_XDP: the map of sockets");
  return made;
}

Result<void> open_senders(const XdpOptions& options, XdpDescriptors& made) {
  const AfPacketOptions packet{.device = options.device, .ifindex = options.ifindex};
  while (made.senders.size() < options.workers) {
    auto sender = open_packet_sender(packet);
    if (!sender) return std::unexpected(sender.error());
    made.senders.push_back(std::move(*sender));
  }
  return {};
}

}  // namespace

Result<XdpDescriptors> open_xdp(const XdpOptions& options) {
  const auto facts = read_device_facts(options.device);
  if (!facts) return std::unexpected(facts.error());
  if (facts->mtu > kMaxXdpMtu) {
    return std::unexpected(
        Error{EINVAL, fmt::format("{}: an MTU of {} is too large for AF_XDP, at most {}",
                                  options.device, facts->mtu, kMaxXdpMtu)});
  }
  XdpDescriptors made;
  made.ifindex = options.ifindex;
  made.workers = static_cast<std::uint32_t>(options.workers);
  auto attached = attach(options, facts->rx_queues, false);
  made.is_native = attached.has_value();
  if (!attached && options.allows_generic) attached = attach(options, facts->rx_queues, true);
  if (!attached) return std::unexpected(attached.error());

  for (std::uint32_t queue = 0; queue < facts->rx_queues; ++queue) {
    auto socket = open_socket(attached->map("sockets"), queue);
    if (!socket) return std::unexpected(socket.error());
    made.sockets.push_back(std::move(*socket));
  }
  if (auto registered = register_memory(made, frame_bytes_for(facts->mtu)); !registered)
    return std::unexpected(registered.error());
  if (options.has_live_frames || made.sockets.size() < options.workers) {
    if (auto opened = open_senders(options, made); !opened) return std::unexpected(opened.error());
  }
  made.link = std::move(attached->link);
  made.program = copy_of(attached->program);
  if (options.has_live_frames) {
    made.live_slots = copy_of(attached->map("slots"));
    made.live_control = copy_of(attached->map("control"));
  }
  return made;
}

}  // namespace weir::io
