#include "daemon/seccomp.h"

#include <linux/bpf.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace weir::daemon {
namespace {

struct Releaser {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Releaser>;

/// What workers, control thread, metrics and log need while they run, by what for.
constexpr const char* kEngineCalls[] = {
    // Packets, tools, rtnetlink, the privileged process.
    "read", "readv", "write", "writev", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg",
    "sendmmsg", "accept", "accept4", "bind", "listen", "connect", "shutdown", "getsockopt",
    "setsockopt", "getsockname", "getpeername", "close", "dup", "dup2", "dup3", "fcntl", "ioctl",
    "pipe", "pipe2", "socketpair",
    // Waiting.
    "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "eventfd2", "signalfd4", "timerfd_create", "timerfd_settime",
    "nanosleep", "clock_nanosleep", "restart_syscall", "sched_yield", "pause",
    // Threads. clone by its flags, below.
    "futex", "futex_waitv", "set_robust_list", "rseq", "set_tid_address", "gettid", "tgkill",
    "exit", "exit_group", "sched_getaffinity", "sched_setaffinity", "sched_getparam",
    "sched_getscheduler", "membarrier", "getcpu", "prctl", "wait4",
    // Memory.
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mlock", "munlock", "mincore",
    "memfd_create",
    // Signals.
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack",
    // Files: reading anywhere, writing where the engine may.
    "open", "openat", "openat2", "stat", "fstat", "lstat", "newfstatat", "statx", "access",
    "faccessat", "faccessat2", "lseek", "pread64", "pwrite64", "preadv", "pwritev", "ftruncate",
    "fallocate", "fsync", "fdatasync", "msync", "rename", "renameat", "renameat2", "unlink",
    "unlinkat", "mkdir", "mkdirat", "flock", "fchmod", "getdents64", "readlink", "readlinkat",
    "getcwd", "fstatfs", "statfs", "umask",
    // Facts.
    "clock_gettime", "clock_getres", "gettimeofday", "time", "getpid", "getppid", "getuid",
    "geteuid", "getgid", "getegid", "getgroups", "getrandom", "getrlimit", "getrusage", "uname",
    "sysinfo", "times"};

constexpr int kSocketFamilies[] = {AF_UNIX, AF_INET, AF_INET6};

/// On descriptors that were handed to the engine; making programs and maps takes capabilities.
constexpr bpf_cmd kBpfCommands[] = {BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM,
                                    BPF_PROG_TEST_RUN, BPF_OBJ_GET_INFO_BY_FD};

constexpr const char* kForbiddenToHost[] = {"execve",
                                            "execveat",
                                            "fork",
                                            "vfork",
                                            "clone",
                                            "clone3",
                                            "ptrace",
                                            "process_vm_readv",
                                            "process_vm_writev",
                                            "mount",
                                            "umount2",
                                            "pivot_root",
                                            "chroot",
                                            "init_module",
                                            "finit_module",
                                            "delete_module",
                                            "kexec_load",
                                            "kexec_file_load",
                                            "reboot",
                                            "swapon",
                                            "swapoff",
                                            "open_by_handle_at"};

Error refused(int negative_errno) {
  return {-negative_errno,
          std::string("the system call filter (seccomp): ") + std::strerror(-negative_errno)};
}

/// A call that this architecture doesn't have needs no rule.
int add(scmp_filter_ctx filter, std::uint32_t action, const char* name) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR || number < 0) return 0;
  return seccomp_rule_add(filter, action, number, 0);
}

int allow_threads(scmp_filter_ctx filter) {
  // clone3 has its flags in memory, where no filter can look; the C library then takes clone.
  if (const int error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0))
    return error;
  return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                          SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

int allow_own_limits(scmp_filter_ctx filter) {
  return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                          SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0));
}

int fill_engine_filter(scmp_filter_ctx filter) {
  for (const char* name : kEngineCalls) {
    if (const int error = add(filter, SCMP_ACT_ALLOW, name)) return error;
  }
  for (const int family : kSocketFamilies) {
    if (const int error =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0_32(SCMP_CMP_EQ, static_cast<unsigned>(family), 0)))
      return error;
  }
  for (const bpf_cmd command : kBpfCommands) {
    if (const int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
                                           SCMP_A0_32(SCMP_CMP_EQ, command, 0)))
      return error;
  }
  if (const int error = allow_own_limits(filter)) return error;
  return allow_threads(filter);
}

}  // namespace

Result<void> allow_engine_calls() {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (filter == nullptr) return std::unexpected(refused(-ENOMEM));
  if (const int error = fill_engine_filter(filter.get())) return std::unexpected(refused(error));
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // A tree: each packet pays for it.
  if (const int error = seccomp_load(filter.get())) return std::unexpected(refused(error));
  return {};
}

Result<void> forbid_programs() {
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW));
  if (filter == nullptr) return std::unexpected(refused(-ENOMEM));
  for (const char* name : kForbiddenToHost) {
    if (const int error = add(filter.get(), SCMP_ACT_ERRNO(EPERM), name))
      return std::unexpected(refused(error));
  }
  if (const int error = seccomp_load(filter.get())) return std::unexpected(refused(error));
  return {};
}

}  // namespace weir::daemon
