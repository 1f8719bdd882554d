#include "io/tc_hook.h"

#include <fmt/format.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"

namespace weir::io {
namespace {

constexpr std::uint32_t kPriority = 0x7765;
constexpr std::uint32_t kHandleInOwnQdisc = 0x77;
constexpr std::uint32_t kHandleInForeignQdisc = 0x78;
constexpr bpf_tc_attach_point kPoints[] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
constexpr auto kBoth = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);

std::size_t index_of(bpf_tc_attach_point point) { return point == BPF_TC_INGRESS ? 0 : 1; }

/// Whether anybody has a filter at this end of the device's clsact qdisc; true when it can't be
/// told.
bool has_filters(std::uint32_t ifindex, std::uint32_t end) {
  const FileDescriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.is_open()) return true;
  struct {
    nlmsghdr header;
    tcmsg body;
  } request{};
  request.header = {.nlmsg_len = sizeof request,
                    .nlmsg_type = RTM_GETTFILTER,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                    .nlmsg_seq = 1,
                    .nlmsg_pid = 0};
  request.body.tcm_ifindex = static_cast<int>(ifindex);
  request.body.tcm_parent = TC_H_MAKE(TC_H_CLSACT, end);
  if (send(socket.get(), &request, sizeof request, 0) < 0) return true;
  alignas(nlmsghdr) char buffer[32 * 1024];
  for (;;) {
    ssize_t left = recv(socket.get(), buffer, sizeof buffer, 0);
    if (left < 0) return true;
    for (auto* at = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(at, left);
         at = NLMSG_NEXT(at, left)) {
      if (at->nlmsg_type == RTM_NEWTFILTER) return true;
      if (at->nlmsg_type == NLMSG_DONE || at->nlmsg_type == NLMSG_ERROR) return false;
    }
  }
}

}  // namespace

bpf_tc_hook TcHook::hook_of(bpf_tc_attach_point point) const {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex_), .attach_point = point);
  return hook;
}

std::uint32_t TcHook::handle() const {
  return is_ours_ ? kHandleInOwnQdisc : kHandleInForeignQdisc;
}

/// The id of weir's program there; zero when there is none.
std::uint32_t TcHook::program_at(bpf_tc_attach_point point, std::uint32_t handle) const {
  auto hook = hook_of(point);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = handle, .priority = kPriority);
  return bpf_tc_query(&hook, &options) == 0 ? options.prog_id : 0;
}

bool TcHook::find() {
  for (const std::uint32_t handle : {kHandleInOwnQdisc, kHandleInForeignQdisc}) {
    if (program_at(BPF_TC_INGRESS, handle) == 0 && program_at(BPF_TC_EGRESS, handle) == 0) continue;
    is_ours_ = handle == kHandleInOwnQdisc;
    return true;
  }
  return false;
}

Result<void> TcHook::create() {
  has_replaced_others_ = find();
  if (has_replaced_others_) return {};
  auto hook = hook_of(kBoth);
  const int error = bpf_tc_hook_create(&hook);
  if (error != 0 && error != -EEXIST) {
    return std::unexpected(Error{
        -error, fmt::format("clsact qdisc on device {}: {}", ifindex_, std::strerror(-error))});
  }
  is_ours_ = error == 0;
  return {};
}

Result<void> TcHook::attach(bpf_tc_attach_point point, const bpf_program* program) {
  auto hook = hook_of(point);
  LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = bpf_program__fd(program), .flags = BPF_TC_F_REPLACE,
              .handle = handle(), .priority = kPriority);
  if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
    return std::unexpected(
        Error{-error, fmt::format("tc program {} on device {}: {}", bpf_program__name(program),
                                  ifindex_, std::strerror(-error))});
  }
  attached_[index_of(point)] = options.prog_id;
  return {};
}

void TcHook::remove_filter(bpf_tc_attach_point point) {
  auto hook = hook_of(point);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = handle(), .priority = kPriority);
  bpf_tc_detach(&hook, &options);
}

void TcHook::remove_empty_qdisc() {
  if (!is_ours_ || has_filters(ifindex_, TC_H_MIN_INGRESS) ||
      has_filters(ifindex_, TC_H_MIN_EGRESS))
    return;
  auto hook = hook_of(kBoth);
  bpf_tc_hook_destroy(&hook);
}

void TcHook::detach() {
  for (const bpf_tc_attach_point point : kPoints) {
    const std::uint32_t id = attached_[index_of(point)];
    if (id != 0 && program_at(point, handle()) == id) remove_filter(point);
  }
  remove_empty_qdisc();
}

void TcHook::remove() {
  for (const bpf_tc_attach_point point : kPoints) remove_filter(point);
  remove_empty_qdisc();
}

}  // namespace weir::io
