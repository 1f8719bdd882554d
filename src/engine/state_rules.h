#pragma once

#include "base/clock.h"
#include "control/nftables/nftables.h"
#include "engine/state.h"
#include "rules/ruleset.h"

namespace weir::engine {

/// Keeps the saved rules up to date with the ruleset, so that an engine that is killed loses
/// nothing, or little that is stated:
///
/// - A commit is saved before the tool has its answer, unless saving is expensive (a hundred
///   thousand elements): then at most a twentieth of the time goes into it, and what was committed
///   since is lost. 20,000 rules take some 15 ms: two commits within 300 ms are saved as one.
/// - Counters, quotas and elements that packets have made are saved with each commit, every
///   kStatePeriod, and by save() at an orderly stop.
///
/// On the control thread.
class RulesKeeper final : public control::CommitObserver {
 public:
  static constexpr Duration kStatePeriod = std::chrono::seconds(5);

  /// Both must outlive it.
  RulesKeeper(const State& state, rules::Ruleset& ruleset) : state_(state), ruleset_(ruleset) {}

  void on_commit() override;
  /// Saves what is due; every few milliseconds.
  void turn(Time now);
  /// Saves now, whatever it costs.
  Result<void> save();

 private:
  const State& state_;
  rules::Ruleset& ruleset_;
  bool is_behind_ = false;   // Something was committed that isn't saved.
  bool has_failed_ = false;  // Saving fails, which has been said.
  Time not_before_{};        // So that saving takes at most its share of the time.
  Time state_due_{};
};

/// Makes the ruleset what was saved last. False when nothing was. Errors: a damaged file, rules
/// that this version doesn't understand; they are kept aside.
Result<bool> restore_rules(const State& state, rules::Ruleset& ruleset);

}  // namespace weir::engine
