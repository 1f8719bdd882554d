#pragma once

#include <sys/types.h>

#include <vector>

#include "base/error.h"
#include "control/server/subsystem.h"

namespace weir::control {

/// Users and groups that something is allowed to.
struct Principals {
  std::vector<uid_t> uids = {};
  std::vector<gid_t> gids = {};
};

/// Who may do what over nfnetlink. In the kernel CAP_NET_ADMIN decides; over a unix socket the
/// peer's credentials do. Root may do everything. Who may change may also read.
struct AccessPolicy {
  /// The engine's own user may do everything too: for engines that run as a person. Not for one
  /// that has become nobody, who others are as well.
  bool trusts_own_user = true;
  Principals readers = {};
  Principals changers = {};
};

/// What one peer may do.
struct Rights {
  bool may_read = false;
  bool may_change = false;
};

/// The credentials that the peer of a connected unix socket had when it connected.
struct Credentials {
  Peer peer;
  std::vector<gid_t> groups;  ///< Supplementary ones.
};

Result<Credentials> peer_credentials(int socket);

Rights rights_of(const Credentials& credentials, const AccessPolicy& policy);

}  // namespace weir::control
