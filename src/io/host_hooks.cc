#include "io/host_hooks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "io/bpf/port_bpf_object.h"

namespace weir::io {
namespace {

/// Where weir's filters sit in a device's clsact qdisc; how leftovers are recognised.
constexpr std::uint32_t kFilterHandle = 0x77;
constexpr std::uint32_t kFilterPriority = 0x7765;

/// The clsact qdisc of one device and weir's filters in it.
class TcHook {
 public:
  explicit TcHook(std::uint32_t ifindex) : ifindex_(ifindex) {}

  Result<void> create() {
    is_ours_ = remove_filters();
    auto hook = hook_of(static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    const int error = bpf_tc_hook_create(&hook);
    if (error != 0 && error != -EEXIST) {
      return std::unexpected(Error{
          -error, fmt::format("clsact qdisc on device {}: {}", ifindex_, std::strerror(-error))});
    }
    is_ours_ = is_ours_ || error == 0;
    return {};
  }

  Result<void> attach(bpf_tc_attach_point point, const bpf_program* program) {
    auto hook = hook_of(point);
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = bpf_program__fd(program),
                .flags = BPF_TC_F_REPLACE, .handle = kFilterHandle, .priority = kFilterPriority);
    if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
      return std::unexpected(
          Error{-error, fmt::format("tc program {} on device {}: {}", bpf_program__name(program),
                                    ifindex_, std::strerror(-error))});
    }
    return {};
  }

  /// True when there was one of ours.
  bool remove_filters() {
    const bool ingress = remove_filter(BPF_TC_INGRESS);
    const bool egress = remove_filter(BPF_TC_EGRESS);
    return ingress || egress;
  }

  void remove() {
    remove_filters();
    if (!is_ours_) return;
    auto hook = hook_of(static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    bpf_tc_hook_destroy(&hook);
  }

  void mark_ours() { is_ours_ = true; }

 private:
  bpf_tc_hook hook_of(bpf_tc_attach_point point) const {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex_), .attach_point = point);
    return hook;
  }

  bool remove_filter(bpf_tc_attach_point point) {
    auto hook = hook_of(point);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = kFilterHandle, .priority = kFilterPriority);
    if (bpf_tc_query(&hook, &options) != 0) return false;
    options.prog_fd = 0;
    options.prog_id = 0;
    options.flags = 0;
    return bpf_tc_detach(&hook, &options) == 0;
  }

  std::uint32_t ifindex_;
  bool is_ours_ = false;
};

struct Constants {
  std::uint32_t own_mark;
  std::uint32_t tap_ifindex;
  std::uint32_t port_ifindex;
};

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, ObjectCloser>;

Result<Object> load_programs(const Constants& constants) {
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "weir_port");
  Object object(bpf_object__open_mem(kPortBpfObject, sizeof kPortBpfObject, &options));
  if (!object) return std::unexpected(system_error("opening the tc programs"));

  bpf_map* const rodata = bpf_object__find_map_by_name(object.get(), "weir_por.rodata");
  if (rodata == nullptr || bpf_map__set_initial_value(rodata, &constants, sizeof constants) != 0) {
    return std::unexpected(
        Error{EINVAL, "the tc programs have no .rodata of the expected size; rebuild weir"});
  }
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
    port_.remove();
    tap_.remove();
  }

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
};

}  // namespace

Result<std::unique_ptr<HostHooks>> HostHooks::attach(const Devices& devices) {
  auto object = load_programs({.own_mark = kEngineMark,
                               .tap_ifindex = devices.tap_ifindex,
                               .port_ifindex = devices.port_ifindex});
  if (!object) return std::unexpected(object.error());
  auto hooks = std::make_unique<Attached>(std::move(*object), devices);
  if (auto done = hooks->attach_all(); !done) return std::unexpected(done.error());
  return hooks;
}

bool HostHooks::remove_leftovers(std::uint32_t ifindex) {
  TcHook hook(ifindex);
  if (!hook.remove_filters()) return false;
  hook.mark_ours();
  hook.remove();
  return true;
}

}  // namespace weir::io
