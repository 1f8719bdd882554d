#include "control/server/access.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weir::control {
namespace {

constexpr uid_t kRoot = 0;

bool contains(const auto& list, auto value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool includes(const Principals& principals, const Credentials& who) {
  return contains(principals.uids, who.peer.uid) || contains(principals.gids, who.peer.gid) ||
         std::any_of(who.groups.begin(), who.groups.end(),
                     [&](gid_t group) { return contains(principals.gids, group); });
}

}  // namespace

Result<Credentials> peer_credentials(int socket) {
  ucred found{};
  socklen_t length = sizeof found;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &found, &length) < 0) {
    return std::unexpected(system_error("cannot tell who has connected (SO_PEERCRED)"));
  }
  Credentials credentials{.peer = {.pid = found.pid, .uid = found.uid, .gid = found.gid},
                          .groups = {}};
  length = 0;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, nullptr, &length) < 0 && errno == ERANGE) {
    credentials.groups.resize(length / sizeof(gid_t));
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, credentials.groups.data(), &length) < 0) {
      credentials.groups.clear();
    }
  }
  return credentials;
}

Rights rights_of(const Credentials& credentials, const AccessPolicy& policy) {
  const uid_t uid = credentials.peer.uid;
  const bool is_master = uid == kRoot || (policy.trusts_own_user && uid == geteuid());
  const bool may_change = is_master || includes(policy.changers, credentials);
  return {.may_read = may_change || includes(policy.readers, credentials),
          .may_change = may_change};
}

}  // namespace weir::control
