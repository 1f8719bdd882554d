#include "daemon/privileges.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file_descriptor.h"
#include "daemon/landlock.h"
#include "daemon/seccomp.h"

namespace weir::daemon {
namespace {

constexpr int kLastCapability = 63;
/// What opening ports takes (sockets, TAPs, programs, looking into the namespace of a veth's peer),
/// and reaching files of others.
constexpr int kHostCapabilities[] = {CAP_NET_ADMIN,  CAP_NET_RAW,         CAP_BPF,
                                     CAP_PERFMON,    CAP_SYS_ADMIN,       CAP_DAC_OVERRIDE,
                                     CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_IPC_LOCK};

using CapabilitySets = std::array<__user_cap_data_struct, 2>;

bool is_root() { return geteuid() == 0; }

CapabilitySets read_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  CapabilitySets sets{};
  syscall(SYS_capget, &header, sets.data());
  return sets;
}

Result<void> write_capabilities(const CapabilitySets& sets) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  if (syscall(SYS_capset, &header, sets.data()) != 0)
    return std::unexpected(system_error("giving up capabilities"));
  return {};
}

bool contains(std::uint64_t set, int capability) { return (set >> capability & 1) != 0; }

/// Nothing that is started later can have another one either.
void bound_capabilities(std::uint64_t kept) {
  for (int i = 0; i <= kLastCapability; ++i) {
    if (!contains(kept, i)) prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

Result<void> become(const Identity& identity, const std::vector<gid_t>& groups) {
  if (!is_root()) return {};
  if (setgroups(groups.size(), groups.data()) != 0)
    return std::unexpected(system_error("giving up root's groups"));
  if (identity.uid == 0) return {};
  if (setresgid(identity.gid, identity.gid, identity.gid) != 0 ||
      setresuid(identity.uid, identity.uid, identity.uid) != 0)
    return std::unexpected(system_error("becoming the user " + identity.name));
  return {};
}

void raise_limit(__rlimit_resource resource, rlim_t wanted) {
  rlimit limit{};
  getrlimit(resource, &limit);
  const rlimit raised{.rlim_cur = wanted, .rlim_max = std::max(wanted, limit.rlim_max)};
  if (setrlimit(resource, &raised) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(resource, &limit);
}

}  // namespace

Result<Identity> find_identity(const std::string& name) {
  const passwd* user = nullptr;
  if (!is_root()) {
    user = getpwuid(geteuid());
    const std::string own = user != nullptr ? user->pw_name : std::to_string(geteuid());
    if (!name.empty() && name != own)
      return std::unexpected(Error{EPERM, "user " + name + ": only root can become another user"});
    return Identity{.name = own, .uid = geteuid(), .gid = getegid()};
  }
  user = getpwnam(name.empty() ? "weir" : name.c_str());
  if (user == nullptr && name.empty()) user = getpwnam("nobody");
  if (user == nullptr) {
    return std::unexpected(
        Error{EINVAL, "user " + (name.empty() ? "nobody" : name) + ": there is no such user"});
  }
  return Identity{.name = user->pw_name, .uid = user->pw_uid, .gid = user->pw_gid};
}

Result<void> prepare_folder(const std::string& path, const Identity& owner) {
  constexpr mode_t kMode = 0755;
  if (mkdir(path.c_str(), kMode) != 0 && errno != EEXIST)
    return std::unexpected(system_error("making the folder " + path));
  const FileDescriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.is_open()) return std::unexpected(system_error("the folder " + path));
  if (is_root() && fchown(folder.get(), owner.uid, owner.gid) != 0)
    return std::unexpected(system_error("giving the folder " + path + " to " + owner.name));
  return {};
}

FileIdentity::FileIdentity(const Identity& identity) {
  // The group first: it takes root's file rights, which go with the user.
  gid_ = static_cast<gid_t>(setfsgid(identity.gid));
  uid_ = static_cast<uid_t>(setfsuid(identity.uid));
}

FileIdentity::~FileIdentity() {
  setfsuid(uid_);
  setfsgid(gid_);
}

void raise_limits() {
  constexpr rlim_t kDescriptors = 65536;
  raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
  raise_limit(RLIMIT_NOFILE, kDescriptors);
}

void close_others(int kept) {
  const auto first = static_cast<unsigned>(kept);
  if (first > STDERR_FILENO + 1) close_range(STDERR_FILENO + 1, first - 1, 0);
  close_range(first + 1, ~0U, 0);
}

void keep_host_privileges() {
  std::uint64_t kept = 0;
  for (const int each : kHostCapabilities) kept |= std::uint64_t{1} << each;
  bound_capabilities(kept);
  CapabilitySets sets = read_capabilities();
  for (std::size_t half = 0; half < sets.size(); ++half) {
    sets[half].permitted &= static_cast<std::uint32_t>(kept >> 32 * half);
    sets[half].effective = sets[half].permitted;
    sets[half].inheritable = 0;
  }
  [[maybe_unused]] const auto written = write_capabilities(sets);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  [[maybe_unused]] const auto forbidden = forbid_programs();
}

Result<std::string> drop_privileges(const Confinement& confinement) {
  bound_capabilities(0);
  if (auto done = become(confinement.identity, confinement.groups); !done)
    return std::unexpected(done.error());
  if (auto done = write_capabilities({}); !done) return std::unexpected(done.error());
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return std::unexpected(system_error("PR_SET_NO_NEW_PRIVS"));
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

  auto landlock = forbid_writing_outside(confinement.writable_folder);
  if (!landlock) return std::unexpected(landlock.error());
  if (confinement.only_engine_calls) {
    if (auto done = allow_engine_calls(); !done) return std::unexpected(done.error());
  }
  return fmt::format("user {}, no capabilities, {}{}", confinement.identity.name,
                     *landlock ? "Landlock" : "no Landlock in this kernel (file rights alone)",
                     confinement.only_engine_calls ? ", seccomp" : "");
}

}  // namespace weir::daemon
