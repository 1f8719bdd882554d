#include "daemon/settings_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <type_traits>

namespace weir::daemon {
namespace {

constexpr std::array<std::string_view, 2> kFailPolicies = {"closed", "open"};  // By FailPolicy.

std::string shown(const std::string& text) {
  return text.empty() ? "none" : fmt::format("\"{}\"", text);
}

template <auto kMember, typename T>
void copy_member(const T& from, T& to) {
  to.*kMember = from.*kMember;
}

template <auto kMember, typename T = Settings>
Key<T> text(std::string_view name, std::string expects, Applies applies) {
  return {.name = name,
          .expects = std::move(expects),
          .applies = applies,
          .set =
              [](T& to, const Value& value) {
                const auto* const given = std::get_if<std::string>(&value);
                // A NUL would end the name of a file early.
                if (given == nullptr || given->find('\0') != std::string::npos) return false;
                to.*kMember = *given;
                return true;
              },
          .show = [](const T& from) { return shown(from.*kMember); },
          .copy = copy_member<kMember, T>};
}

/// One of `kKnown`: a string, or an enumeration whose numbers are the places in it.
template <auto kMember, const auto& kKnown, typename T = Settings>
Key<T> choice(std::string_view name, Applies applies) {
  using Member = std::remove_cvref_t<decltype(std::declval<T&>().*kMember)>;
  std::string expects = "one of";
  for (const std::string_view known : kKnown)
    expects += fmt::format("{} \"{}\"", known == kKnown.front() ? "" : ",", known);
  return {.name = name,
          .expects = std::move(expects),
          .applies = applies,
          .set =
              [](T& to, const Value& value) {
                const auto* const given = std::get_if<std::string>(&value);
                if (given == nullptr) return false;
                const auto* const found = std::find(kKnown.begin(), kKnown.end(), *given);
                if (found == kKnown.end()) return false;
                if constexpr (std::is_enum_v<Member>) {
                  to.*kMember = static_cast<Member>(found - kKnown.begin());
                } else {
                  to.*kMember = *given;
                }
                return true;
              },
          .show =
              [](const T& from) {
                if constexpr (std::is_enum_v<Member>) {
                  return fmt::format("\"{}\"", kKnown[static_cast<std::size_t>(from.*kMember)]);
                } else {
                  return shown(from.*kMember);
                }
              },
          .copy = copy_member<kMember, T>};
}

template <auto kMember, std::uint64_t kLeast, std::uint64_t kMost>
Key<Settings> number(std::string_view name, Applies applies) {
  using Member = std::remove_cvref_t<decltype(std::declval<Settings&>().*kMember)>;
  static_assert(kMost <= std::numeric_limits<Member>::max());
  return {.name = name,
          .expects = fmt::format("a number from {} to {}", kLeast, kMost),
          .applies = applies,
          .set =
              [](Settings& to, const Value& value) {
                const auto* const given = std::get_if<std::int64_t>(&value);
                if (given == nullptr || *given < static_cast<std::int64_t>(kLeast) ||
                    *given > static_cast<std::int64_t>(kMost))
                  return false;
                to.*kMember = static_cast<Member>(*given);
                return true;
              },
          .show = [](const Settings& from) { return fmt::format("{}", from.*kMember); },
          .copy = copy_member<kMember, Settings>};
}

bool is_principal(std::string_view name) {
  for (const std::string_view kind : {"user:", "group:"}) {
    if (name.starts_with(kind) && name.size() > kind.size()) return true;
  }
  return false;
}

/// A list of "user:NAME" and "group:NAME".
template <auto kMember>
Key<Settings> principals(std::string_view name, Applies applies) {
  return {.name = name,
          .expects = "a list of \"user:NAME\" and \"group:NAME\"",
          .applies = applies,
          .set =
              [](Settings& to, const Value& value) {
                const auto* const given = std::get_if<std::vector<std::string>>(&value);
                if (given == nullptr || !std::all_of(given->begin(), given->end(), is_principal))
                  return false;
                to.*kMember = *given;
                return true;
              },
          .show =
              [](const Settings& from) {
                if ((from.*kMember).empty()) return std::string("none");
                return fmt::format("[\"{}\"]", fmt::join(from.*kMember, "\", \""));
              },
          .copy = copy_member<kMember, Settings>};
}

/// How many letters must change, come or go to make one of the other; two neighbours that have
/// changed places are one.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

}  // namespace

std::span<const Key<Settings>> setting_keys() {
  constexpr std::uint64_t kMostEntries = std::uint64_t{1} << 29;
  using enum Applies;
  static const std::vector<Key<Settings>> kKeys = {
      text<&Settings::rules>("rules", "the name of a file", at_reload),
      text<&Settings::socket>("socket", "the name of a socket", at_restart),
      text<&Settings::state>("state", "the name of a folder", at_restart),
      text<&Settings::user>("user", "the name of a user", at_restart),
      choice<&Settings::fail_policy, kFailPolicies>("fail_policy", at_restart),
      number<&Settings::workers, 1, kMaxWorkers>("workers", at_restart),
      number<&Settings::conntrack_max, 1, kMostEntries>("conntrack.max", at_restart),
      number<&Settings::limit_per_source, 0, kMostEntries>("limits.per_source", at_reload),
      number<&Settings::limit_per_zone, 0, kMostEntries>("limits.per_zone", at_reload),
      number<&Settings::limit_ip_prefix, 0, 32>("limits.ip_prefix", at_reload),
      number<&Settings::limit_ip6_prefix, 0, 128>("limits.ip6_prefix", at_reload),
      number<&Settings::small_buffers, 1024, 1 << 22>("memory.small_buffers", at_restart),
      number<&Settings::large_buffers, 64, 1 << 16>("memory.large_buffers", at_restart),
      principals<&Settings::readers>("access.readers", at_reload),
      principals<&Settings::changers>("access.changers", at_reload),
      text<&Settings::socket_owner>("access.owner", "the name of a user", at_restart),
      text<&Settings::socket_group>("access.group", "the name of a group", at_restart),
      text<&Settings::socket_mode>("access.mode", "a mode like \"0660\"", at_restart),
      choice<&Settings::log_level, kLogLevels>("log.level", at_reload),
      text<&Settings::metrics_listen>("metrics.listen", "\"ADDRESS:PORT\"", at_restart),
  };
  return kKeys;
}

std::span<const Key<PortSettings>> port_keys() {
  using enum Applies;
  static const std::vector<Key<PortSettings>> kKeys = {
      text<&PortSettings::device, PortSettings>("device", "the name of a network device",
                                                at_reload),
      choice<&PortSettings::driver, kDrivers, PortSettings>("driver", at_reload),
      choice<&PortSettings::tx, kTransmits, PortSettings>("tx", at_reload),
  };
  return kKeys;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  constexpr std::size_t kLongest = 100;  // What is longer was not mistyped; and it bounds the work.
  if (word.size() > kLongest) return {};
  std::string_view best;
  std::size_t least = word.size() / 3 + 2;
  for (const std::string_view each : known) {
    const std::size_t found = distance(word, each);
    if (found < least) {
      best = each;
      least = found;
    }
  }
  return best;
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
  if (const std::string_view meant = nearest(word, known); !meant.empty())
    return fmt::format("; did you mean {}?", meant);
  return fmt::format("; known are {}", fmt::join(known, ", "));
}

}  // namespace weir::daemon
