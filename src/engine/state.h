#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "netlink/message.h"

namespace weir::engine {

/// The folder with what an engine leaves to the next one of the same boot, however it ended:
///
///     connections   the arena of entries, mapped by the engine that runs (conntrack/arena.h)
///     extensions    the arena of their rare state (conntrack/extension.h)
///     expectations  what helpers expect (conntrack/expectations.h)
///     rules         the ruleset as it was saved last, replaced by renaming (RulesKeeper)
///     lock          held (flock) by the engine whose folder it is
///
/// It belongs on a tmpfs: the arenas are memory, and after a boot they are worth nothing (the clock
/// that deadlines are on and the devices' numbers begin anew). Files
/// that can't be used (another layout, damage) are kept aside as NAME.old, and the engine starts
/// empty; those of another boot are forgotten.
class State {
 public:
  /// Makes the folder if need be (0750), locks it and opens the arenas' files. Errors: EADDRINUSE
  /// when another engine has the folder; what the system calls say.
  static Result<State> open(const std::string& folder);
  /// The folder of an engine that still runs and hands over its lock. Errors: EINVAL when its
  /// connections can't be used as they are; nothing has changed then.
  static Result<State> take_over(const std::string& folder, FileDescriptor lock);

  int connections_fd() const { return connections_.get(); }
  int extensions_fd() const { return extensions_.get(); }
  int expectations_fd() const { return expectations_.get(); }
  int lock_fd() const { return lock_.get(); }
  const std::string& folder() const { return folder_; }
  /// What was found and can't be used, and what became of it: for people.
  const std::vector<std::string>& notes() const { return notes_; }

  /// The rules that were saved in this boot; nothing when there are none. Errors: EINVAL for a
  /// damaged file.
  Result<std::optional<netlink::Buffer>> read_rules() const;
  /// Replaces the saved rules, all or nothing.
  Result<void> write_rules(Bytes rules) const;
  /// Keeps the saved rules aside, as rules.old: the next start doesn't try them again.
  void set_rules_aside() const;

 private:
  State(std::string folder, FileDescriptor lock)
      : folder_(std::move(folder)), lock_(std::move(lock)) {}
  Result<void> open_arenas(bool takes_over);
  Result<void> open_connections(bool takes_over);

  std::string path(const char* name) const { return folder_ + "/" + name; }

  std::string folder_;
  FileDescriptor lock_;
  FileDescriptor connections_;
  FileDescriptor extensions_;
  FileDescriptor expectations_;
  std::vector<std::string> notes_;
};

}  // namespace weir::engine
