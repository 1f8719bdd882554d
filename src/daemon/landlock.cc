#include "daemon/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "base/file_descriptor.h"

namespace weir::daemon {
namespace {

// Of kernels newer than the headers.
constexpr std::uint64_t kRefer = 1ULL << 13;     // Version 2.
constexpr std::uint64_t kTruncate = 1ULL << 14;  // Version 3.

/// The rights to change files that the kernel can take away.
std::uint64_t changing_rights(long version) {
  std::uint64_t rights = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                         LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                         LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                         LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
  if (version >= 2) rights |= kRefer;
  if (version >= 3) rights |= kTruncate;
  return rights;
}

Result<void> allow(int ruleset, const std::string& folder, std::uint64_t rights) {
  const FileDescriptor parent(open(folder.c_str(), O_PATH | O_CLOEXEC));
  if (!parent.is_open()) return std::unexpected(system_error("the folder " + folder));
  landlock_path_beneath_attr beneath{.allowed_access = rights, .parent_fd = parent.get()};
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0)
    return std::unexpected(system_error("Landlock: the folder " + folder));
  return {};
}

}  // namespace

Result<bool> forbid_writing_outside(const std::string& folder) {
  const long version =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) return false;
  if (version < 0) return std::unexpected(system_error("Landlock"));

  const landlock_ruleset_attr handled{.handled_access_fs = changing_rights(version)};
  const FileDescriptor ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0)));
  if (!ruleset.is_open()) return std::unexpected(system_error("Landlock"));
  if (!folder.empty()) {
    if (auto done = allow(ruleset.get(), folder, handled.handled_access_fs); !done)
      return std::unexpected(done.error());
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return std::unexpected(system_error("Landlock"));
  return true;
}

}  // namespace weir::daemon
