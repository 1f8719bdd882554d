#include "daemon/access.h"

#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <optional>
#include <vector>

#include "daemon/separation.h"

namespace weir::daemon {
namespace {

std::optional<uid_t> uid_of(const std::string& name) {
  const passwd* const user = getpwnam(name.c_str());
  if (user == nullptr) return std::nullopt;
  return user->pw_uid;
}

std::optional<gid_t> gid_of(const std::string& name) {
  const group* const found = getgrnam(name.c_str());
  if (found == nullptr) return std::nullopt;
  return found->gr_gid;
}

/// "user:NAME" and "group:NAME" as numbers.
Result<control::Principals> resolve(const std::vector<std::string>& names) {
  control::Principals principals;
  for (const std::string& name : names) {
    const std::size_t colon = name.find(':');
    const std::string kind = name.substr(0, colon);
    const std::string who = colon == std::string::npos ? "" : name.substr(colon + 1);
    if (const auto uid = kind == "user" ? uid_of(who) : std::nullopt) {
      principals.uids.push_back(*uid);
    } else if (const auto gid = kind == "group" ? gid_of(who) : std::nullopt) {
      principals.gids.push_back(*gid);
    } else {
      return std::unexpected(
          Error{EINVAL, "access: " + name + " is no user:NAME or group:NAME that exists"});
    }
  }
  return principals;
}

}  // namespace

Result<control::AccessPolicy> access_policy(const Settings& settings, const Separation& parts) {
  auto readers = resolve(settings.readers);
  if (!readers) return std::unexpected(readers.error());
  auto changers = resolve(settings.changers);
  if (!changers) return std::unexpected(changers.error());
  if (parts.has_own_user()) changers->gids.push_back(parts.loader_group());
  return control::AccessPolicy{.trusts_own_user = !parts.has_own_user(),
                               .readers = std::move(*readers),
                               .changers = std::move(*changers)};
}

Result<control::SocketFile> socket_file(const Settings& settings, const Identity& identity) {
  constexpr unsigned kMostMode = 0777;
  control::SocketFile file{.owner = identity.uid, .group = identity.gid};
  if (!settings.socket_owner.empty()) {
    const auto uid = uid_of(settings.socket_owner);
    if (!uid) {
      return std::unexpected(
          Error{EINVAL, "access.owner: there is no user " + settings.socket_owner});
    }
    file.owner = *uid;
  }
  if (!settings.socket_group.empty()) {
    const auto gid = gid_of(settings.socket_group);
    if (!gid) {
      return std::unexpected(
          Error{EINVAL, "access.group: there is no group " + settings.socket_group});
    }
    file.group = *gid;
  }
  const std::string& text = settings.socket_mode;
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > kMostMode)
    return std::unexpected(Error{EINVAL, "access.mode: " + text + " is no mode like \"0660\""});
  file.mode = mode;
  return file;
}

}  // namespace weir::daemon
