#include "daemon/separation.h"

#include <unistd.h>

#include "base/random.h"
#include "daemon/access.h"

namespace weir::daemon {
namespace {

/// A group that nobody else has: numbers from here on are given to nobody by custom.
gid_t draw_group() {
  constexpr std::uint32_t kFirst = 0x7000'0000;
  constexpr std::uint32_t kCount = 0x0fff'ffff;
  std::uint32_t drawn = 0;
  fill_random({reinterpret_cast<std::uint8_t*>(&drawn), sizeof drawn});
  return kFirst + drawn % kCount;
}

}  // namespace

Result<Separation> Separation::start(const HostOptions& options) {
  Separation parts;
  auto identity = find_identity(options.settings.user);
  if (!identity) return std::unexpected(identity.error());
  parts.identity_ = std::move(*identity);
  parts.state_folder_ = options.settings.state;
  parts.has_own_user_ = parts.identity_.uid != geteuid();
  if (geteuid() == 0) {
    if (auto made = prepare_folder(parts.state_folder_, parts.identity_); !made)
      return std::unexpected(made.error());
  }
  raise_limits();

  const auto file = socket_file(options.settings, parts.identity_);
  if (!file) return std::unexpected(file.error());
  Loader::Options loader{.confinement = {.identity = parts.identity_},
                         .socket_path = options.settings.socket};
  if (parts.has_own_user_) {
    parts.loader_group_ = draw_group();
    loader.confinement.groups = {parts.loader_group_, file->group};
  }
  auto started = Loader::start(loader);
  if (!started) return std::unexpected(started.error());
  parts.loader_ = std::move(*started);

  auto host = Host::start(options);
  if (!host) return std::unexpected(host.error());
  parts.host_ = std::move(*host);
  return parts;
}

Result<std::string> Separation::confine() const {
  return drop_privileges({.identity = identity_,
                          .groups = {},
                          .writable_folder = state_folder_,
                          .only_engine_calls = true});
}

}  // namespace weir::daemon
