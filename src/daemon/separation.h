#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "daemon/host.h"
#include "daemon/loader.h"
#include "daemon/privileges.h"

namespace weir::daemon {

/// The three processes of `weir run`: the engine (this one), the privileged one (host.h), and the
/// one that starts nft (loader.h).
///
/// start() forks the other two, while this process still has the rights that it was started with.
/// It then opens what needs them once (socket, rtnetlink), and gives them up by confine(), before
/// it reads anything from anybody else and before it has threads.
class Separation {
 public:
  /// Errors: what is wrong with the user or the folder of the state; what fork gives.
  static Result<Separation> start(const HostOptions& options);

  /// For good (drop_privileges). Returns what holds, for the log.
  Result<std::string> confine() const;

  const Identity& identity() const { return identity_; }
  /// False when the engine stays who started it.
  bool has_own_user() const { return has_own_user_; }
  /// The group by which the engine knows the nft that the loader has started; -1 without an own
  /// user.
  gid_t loader_group() const { return loader_group_; }
  Host& host() const { return *host_; }
  Loader& loader() const { return *loader_; }

 private:
  Identity identity_;
  std::string state_folder_;
  bool has_own_user_ = false;
  gid_t loader_group_ = static_cast<gid_t>(-1);
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<Host> host_;
};

}  // namespace weir::daemon
