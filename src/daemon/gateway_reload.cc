// SIGHUP. First everything is looked at that can be wrong: the file, its users and groups, its
// devices; then nft gets the rules, which it applies whole or not at all. Only then does anything
// else change, by steps that have no reason to fail any more. A device that can't be opened all the
// same is a port whose device is away: it is opened when the kernel says that it has changed.
#include <fmt/format.h>
#include <net/if.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "daemon/access.h"
#include "daemon/gateway.h"
#include "daemon/log.h"
#include "daemon/reload.h"

namespace weir::daemon {
namespace {

/// All that a descriptor gives, after `beginning`. Errors: EFBIG past what a file can sensibly be.
Result<std::string> read_all(const FileDescriptor& file, std::string beginning) {
  constexpr std::size_t kMost = std::size_t{64} << 20;
  std::array<char, 65536> chunk;
  ssize_t got = 0;
  while ((got = read(file.get(), chunk.data(), chunk.size())) > 0) {
    beginning.append(chunk.data(), static_cast<std::size_t>(got));
    if (beginning.size() > kMost) return std::unexpected(Error{EFBIG, "the file is too long"});
  }
  if (got < 0) return std::unexpected(system_error("reading the file"));
  return beginning;
}

/// A ruleset that takes the place of the one before, in one transaction. The statement stands on
/// the first line, so that nft's messages count lines right.
Result<FileDescriptor> replacing(const FileDescriptor& rules) {
  const auto text = read_all(rules, "flush ruleset; ");
  if (!text) return std::unexpected(text.error());
  FileDescriptor copy(memfd_create("rules", MFD_CLOEXEC));
  if (!copy.is_open()) return std::unexpected(system_error("memfd_create"));
  if (write(copy.get(), text->data(), text->size()) != static_cast<ssize_t>(text->size()) ||
      lseek(copy.get(), 0, SEEK_SET) != 0)
    return std::unexpected(system_error("copying the rules"));
  return copy;
}

Result<void> find_devices(const std::vector<PortSettings>& ports) {
  std::string missing;
  for (const PortSettings& port : ports) {
    if (if_nametoindex(port.device.c_str()) == 0)
      missing += fmt::format("{}{}: port {}: there is no device {}", missing.empty() ? "" : "\n",
                             port.where, port.name, port.device);
  }
  if (missing.empty()) return {};
  return std::unexpected(Error{ENODEV, missing});
}

}  // namespace

void Gateway::reload() {
  supervision_->manager().reloading();
  const auto done = try_reload();
  supervision_->count_reload(done.has_value());
  if (!done) spdlog::error("reload: nothing has changed:\n{}", done.error().text);
  supervision_->manager().ready();
  tell_status();
}

Result<void> Gateway::try_reload() {
  auto wanted = read_settings_again();
  if (!wanted) return std::unexpected(wanted.error());
  auto access = access_policy(*wanted, parts_);
  if (!access) return std::unexpected(access.error());
  Settings now = settings_;
  std::erase_if(now.ports, [](const PortSettings& port) { return port.name.empty(); });
  Changes changes = compare(now, *wanted);
  if (auto found = find_devices(changes.new_ports); !found) return found;
  if (now.ports.size() - changes.gone_ports.size() + changes.new_ports.size() >
      engine_->port_count())
    return std::unexpected(
        Error{ENOSPC, fmt::format("there is room for {} ports until weir is started again",
                                  engine_->port_count())});
  if (surroundings_.reread != nullptr) {
    if (auto allowed = parts_.host().reload(); !allowed) return allowed;
  }
  if (auto loaded = load_rules_again(changes.settings.rules); !loaded) return loaded;

  apply_ports(changes);
  apply_sysctls(changes);
  if (auto limited = apply_limits(changes.settings); !limited)
    spdlog::error("reload: {}", limited.error().text);
  control_->server().set_access(*access);
  set_log_level(changes.settings.log_level);
  for (const std::string& line : changes.changed) spdlog::info("reload: {}", line);
  for (const std::string& line : changes.kept) spdlog::warn("reload: kept {}", line);
  // In the order of their numbers, as they are now.
  std::vector<PortSettings> ports = std::move(settings_.ports);
  settings_ = std::move(changes.settings);
  settings_.ports = std::move(ports);
  spdlog::info("reload: done");
  return {};
}

/// Without a configuration file only the rules can have changed.
Result<Settings> Gateway::read_settings_again() {
  if (surroundings_.reread == nullptr) return settings_;
  const auto file = parts_.host().open_file(HostFile::config);
  if (!file) return std::unexpected(file.error());
  const auto text = read_all(*file, "");
  if (!text) return std::unexpected(text.error());
  return surroundings_.reread(*text);
}

Result<void> Gateway::load_rules_again(const std::string& name) {
  if (name.empty()) return {};
  const auto file = parts_.host().open_file(HostFile::rules);
  if (!file) return std::unexpected(file.error());
  const auto whole = replacing(*file);
  if (!whole) return std::unexpected(whole.error());
  if (auto loaded = parts_.loader().load(*whole, name, [this] { turn(); }); !loaded) return loaded;
  if (!engine_->is_open()) open_gate();
  spdlog::info("reload: rules of {} loaded", name);
  return {};
}

void Gateway::apply_ports(const Changes& changes) {
  for (const std::string& name : changes.gone_ports) {
    for (std::uint16_t port = 0; port < settings_.ports.size(); ++port) {
      if (settings_.ports[port].name != name) continue;
      if (devices_[port] != nullptr) close_port(port);
      engine_->set_port_name(port, "");
      settings_.ports[port] = {};
      spdlog::info("reload: port {} is given back", name);
    }
  }
  for (const PortSettings& wanted : changes.new_ports) {
    const auto free = std::find_if(settings_.ports.begin(), settings_.ports.end(),
                                   [](const PortSettings& port) { return port.name.empty(); });
    const auto port = static_cast<std::uint16_t>(free - settings_.ports.begin());
    if (free == settings_.ports.end()) {
      settings_.ports.push_back(wanted);
      devices_.emplace_back();
    } else {
      *free = wanted;
    }
    engine_->set_port_name(port, wanted.name);
    reopen_port(port);
  }
}

Result<void> Gateway::apply_limits(const Settings& settings) {
  return engine_->conntrack().limits().configure({.per_source = settings.limit_per_source,
                                                  .per_zone = settings.limit_per_zone,
                                                  .ip_prefix = settings.limit_ip_prefix,
                                                  .ip6_prefix = settings.limit_ip6_prefix});
}

void Gateway::apply_sysctls(const Changes& changes) {
  const auto set = [this](const std::string& name, std::uint64_t value) {
    if (auto done = engine_->set_sysctl(name, std::to_string(value)); !done)
      spdlog::error("reload: {}", done.error().text);
  };
  conntrack::Sysctl standard;
  for (const std::string& name : changes.gone_sysctls) {
    if (const auto* const knob = conntrack::find_sysctl(name))
      set(name, knob->knob(standard).get());
  }
  for (const SysctlSetting& each : changes.sysctls) set(each.name, each.value);
}

}  // namespace weir::daemon
