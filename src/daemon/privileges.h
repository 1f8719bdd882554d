#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir::daemon {

/// Whom the engine runs as.
struct Identity {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

/// The user of that name; empty: weir where that user exists, else nobody. Who isn't root stays who
/// it is. Errors: EINVAL when there is no such user; EPERM when another one is asked for without
/// root.
Result<Identity> find_identity(const std::string& name);

/// Makes a folder if need be, and gives it to the engine's user: where it may write. Errors: what
/// the system calls give; ENOTDIR when something else is there.
Result<void> prepare_folder(const std::string& path, const Identity& owner);

/// While it lives, files are opened and made as that user would, so that root doesn't follow where
/// a captured engine may have laid links. Only this thread.
class FileIdentity {
 public:
  explicit FileIdentity(const Identity& identity);
  ~FileIdentity();
  FileIdentity(const FileIdentity&) = delete;
  FileIdentity& operator=(const FileIdentity&) = delete;

 private:
  uid_t uid_;
  gid_t gid_;
};

/// As many descriptors and as much locked memory as the host lets us have.
void raise_limits();

/// Closes all descriptors but standard input, output, error and `kept`.
void close_others(int kept);

/// For the privileged process: the capabilities for opening ports and repairing the host remain,
/// and nothing new can be started.
void keep_host_privileges();

struct Confinement {
  Identity identity;
  std::vector<gid_t> groups = {};    // Supplementary.
  std::string writable_folder = {};  // Empty: none.
  bool only_engine_calls = false;    // The system call filter of seccomp.h.
};

/// For good, and for all threads that start later: no capability in any set, another user, no new
/// privileges through a program, no file that can be written outside the folder (by Landlock where
/// the kernel has it; by the user's lack of rights anyway), and only the engine's system calls.
/// Call before any other thread is started. Returns what holds, for the log. Errors: what refused.
Result<std::string> drop_privileges(const Confinement& confinement);

}  // namespace weir::daemon
