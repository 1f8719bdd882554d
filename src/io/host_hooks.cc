#include "io/host_hooks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>

#include "io/bpf/port_bpf_object.h"
#include "io/host_tap.h"
#include "io/tc_hook.h"

namespace weir::io {
namespace {

struct Constants {
  std::uint32_t own_mark;
  std::uint32_t tap_ifindex;
  std::uint32_t port_ifindex;
  std::uint32_t fails_open;
  std::uint32_t has_generic_xdp;
};

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, ObjectCloser>;

Result<Object> load_programs(const Constants& constants, int heartbeat) {
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "weir_port");
  Object object(bpf_object__open_mem(kPortBpfObject, sizeof kPortBpfObject, &options));
  if (!object) return std::unexpected(system_error("opening the tc programs"));

  bpf_map* const rodata = bpf_object__find_map_by_name(object.get(), "weir_por.rodata");
  if (rodata == nullptr || bpf_map__set_initial_value(rodata, &constants, sizeof constants) != 0) {
    return std::unexpected(
        Error{EINVAL, "the tc programs have no .rodata of the expected size; rebuild weir"});
  }
  bpf_map* const beats = bpf_object__find_map_by_name(object.get(), "heartbeat");
  if (beats == nullptr || bpf_map__reuse_fd(beats, heartbeat) != 0)
    return std::unexpected(system_error("the tc programs' heartbeat"));
  if (const int error = bpf_object__load(object.get()); error != 0) {
    return std::unexpected(
        Error{-error, fmt::format("loading the tc programs: {} (needs CAP_BPF and CAP_NET_ADMIN)",
                                  std::strerror(-error))});
  }
  return object;
}

class Attached final : public HostHooks {
 public:
  Attached(Object object, const Devices& devices)
      : object_(std::move(object)), port_(devices.port_ifindex), tap_(devices.tap_ifindex) {}
  ~Attached() override {
    if (stays_) return;
    port_.detach();
    tap_.detach();
  }

  bool has_replaced_others() const override { return port_.has_replaced_others(); }
  void leave() override { stays_ = true; }

  /// The TAP first: the port's egress must never lead to a TAP that doesn't send on.
  Result<void> attach_all() {
    if (auto made = tap_.create(); !made) return made;
    if (auto made = tap_.attach(BPF_TC_INGRESS, program("weir_inject")); !made) return made;
    if (auto made = port_.create(); !made) return made;
    if (auto made = port_.attach(BPF_TC_INGRESS, program("weir_ingress")); !made) return made;
    return port_.attach(BPF_TC_EGRESS, program("weir_egress"));
  }

 private:
  const bpf_program* program(const char* name) const {
    return bpf_object__find_program_by_name(object_.get(), name);
  }

  Object object_;
  TcHook port_;
  TcHook tap_;
  bool stays_ = false;
};

}  // namespace

Result<std::unique_ptr<HostHooks>> HostHooks::attach(const Devices& devices) {
  auto object = load_programs({.own_mark = kEngineMark,
                               .tap_ifindex = devices.tap_ifindex,
                               .port_ifindex = devices.port_ifindex,
                               .fails_open = devices.fails_open,
                               .has_generic_xdp = devices.has_generic_xdp},
                              devices.heartbeat);
  if (!object) return std::unexpected(object.error());
  auto hooks = std::make_unique<Attached>(std::move(*object), devices);
  if (auto done = hooks->attach_all(); !done) return std::unexpected(done.error());
  return hooks;
}

Result<FileDescriptor> make_heartbeat() {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  FileDescriptor map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_heartbeat", sizeof(std::uint32_t),
                                    sizeof(std::uint64_t), 1, &options));
  if (!map.is_open())
    return std::unexpected(system_error("the map of the heartbeat (needs CAP_BPF)"));
  return map;
}

std::vector<HookedDevice> find_hooked_devices() {
  std::vector<HookedDevice> found;
  struct if_nameindex* const all = if_nameindex();
  for (const struct if_nameindex* at = all; at != nullptr && at->if_index != 0; ++at) {
    TcHook hook(at->if_index);
    if (!hook.find()) continue;
    found.push_back({.device = at->if_name,
                     .ifindex = at->if_index,
                     .has_engine = has_host_tap(at->if_index),
                     .has_own_qdisc = hook.has_own_qdisc()});
  }
  if (all != nullptr) if_freenameindex(all);
  return found;
}

bool remove_hooks(std::uint32_t ifindex) {
  TcHook hook(ifindex);
  if (!hook.find()) return false;
  hook.remove();
  return true;
}

}  // namespace weir::io
