#include "conntrack/statistics.h"

namespace weir::conntrack {

StatisticsSnapshot read(const Statistics& s) {
  StatisticsSnapshot result;
  result.found = s.found.value();
  result.invalid = s.invalid.value();
  result.insert = s.insert.value();
  result.insert_failed = s.insert_failed.value();
  result.drop = s.drop.value();
  result.early_drop = s.early_drop.value();
  result.error = s.error.value();
  result.search_restart = s.search_restart.value();
  result.clash_resolve = s.clash_resolve.value();
  result.chain_too_long = s.chain_too_long.value();
  result.created = s.created.value();
  result.destroyed = s.destroyed.value();
  result.refused = s.refused.value();
  result.refused_source = s.refused_source.value();
  result.refused_zone = s.refused_zone.value();
  result.events_lost = s.events_lost.value();
  for (std::size_t i = 0; i < result.reasons.size(); ++i) result.reasons[i] = s.reasons[i].value();
  return result;
}

StatisticsSnapshot& StatisticsSnapshot::operator+=(const StatisticsSnapshot& other) {
  found += other.found;
  invalid += other.invalid;
  insert += other.insert;
  insert_failed += other.insert_failed;
  drop += other.drop;
  early_drop += other.early_drop;
  error += other.error;
  search_restart += other.search_restart;
  clash_resolve += other.clash_resolve;
  chain_too_long += other.chain_too_long;
  created += other.created;
  destroyed += other.destroyed;
  refused += other.refused;
  refused_source += other.refused_source;
  refused_zone += other.refused_zone;
  events_lost += other.events_lost;
  for (std::size_t i = 0; i < reasons.size(); ++i) reasons[i] += other.reasons[i];
  return *this;
}

}  // namespace weir::conntrack
