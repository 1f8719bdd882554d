#include "engine/state_rules.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "control/nftables/save.h"

namespace weir::engine {
namespace {

constexpr int kShare = 20;  // One part of the time in so many may go into saving.

}  // namespace

void RulesKeeper::on_commit() {
  is_behind_ = true;
  turn(boot_time());
}

void RulesKeeper::turn(Time now) {
  if (now < not_before_ || (!is_behind_ && now < state_due_)) return;
  const auto saved = save();
  if (!saved && !has_failed_) {
    spdlog::error("the rules would not survive a restart: {}", saved.error().text);
  }
  has_failed_ = !saved;
}

Result<void> RulesKeeper::save() {
  const Time begin = boot_time();
  netlink::Buffer rules;
  control::save_ruleset(ruleset_, rules);
  const auto written = state_.write_rules(rules);
  const Time end = boot_time();
  is_behind_ = false;
  state_due_ = end + std::max<Duration>(kStatePeriod, (end - begin) * kShare);
  // What is quick is never put off: a commit is to be safe when the tool hears of it.
  constexpr Duration kQuick = std::chrono::milliseconds(10);
  not_before_ = end - begin <= kQuick ? end : end + (end - begin) * kShare;
  return written;
}

Result<bool> restore_rules(const State& state, rules::Ruleset& ruleset) {
  const auto saved = state.read_rules();
  Result<void> restored;
  if (!saved) {
    restored = std::unexpected(saved.error());
  } else if (*saved) {
    restored = control::restore_ruleset(ruleset, **saved);
  }
  if (restored) return saved->has_value();
  state.set_rules_aside();
  return std::unexpected(
      Error{restored.error().code, restored.error().text + "; they are kept as rules.old"});
}

}  // namespace weir::engine
