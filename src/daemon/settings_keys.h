#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/settings.h"

namespace weir::daemon {

/// A value as the configuration file has it; monostate for a type that no key has.
using Value =
    std::variant<std::monostate, std::string, std::int64_t, bool, std::vector<std::string>>;

/// When a key that was changed in the file takes effect.
enum class Applies : std::uint8_t {
  at_reload,   // SIGHUP.
  at_restart,  // Of the engine; a reload says that it kept the old value.
};

/// A key of the file: what it takes and where it goes. T is Settings, or PortSettings for what
/// stands in [ports.NAME].
template <typename T>
struct Key {
  std::string_view name;  // "conntrack.max"; within [ports.NAME] "device".
  std::string expects;    // "a number from 1 to 64"
  Applies applies = Applies::at_restart;
  bool (*set)(T&, const Value&) = nullptr;  // False: not as `expects` says.
  std::string (*show)(const T&) = nullptr;  // As the file would say it; "none" for nothing.
  void (*copy)(const T& from, T& to) = nullptr;
};

/// All keys but those of [ports.NAME] and [sysctl], in the order of the documentation.
std::span<const Key<Settings>> setting_keys();
std::span<const Key<PortSettings>> port_keys();

/// Of `known` the one that `word` was probably meant to be, empty when none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

/// " (did you mean X?)" or, when nothing is near, "; known are …".
std::string suggestion(std::string_view word, std::span<const std::string_view> known);

}  // namespace weir::daemon
