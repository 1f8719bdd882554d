#pragma once

#include <optional>
#include <string>

#include "tests/support/driver.h"
#include "tests/support/scenario.h"

namespace weir::test {

/// How a scenario went. Empty `failure`: as expected.
struct Outcome {
  std::string failure;  // "line 12: …", several lines.
  bool is_equal() const { return failure.empty(); }
};

/// Plays the script against the driver up to its first failure. `side` says which engine the driver
/// is, for expectations that are for one of them only.
Outcome play(const Scenario& scenario, Side side, Driver& driver);

/// Takes out what only the other side is expected to do, so that every expectation left can be
/// spoilt.
void keep_side(Scenario& scenario, Side side);

/// How many expectations the scenario has that `spoil` can turn into wrong ones.
std::size_t count_expectations(const Scenario& scenario);

/// Makes the scenario's `index`-th expectation wrong, so that playing it must fail. Says what it
/// did.
std::string spoil(Scenario& scenario, std::size_t index);

}  // namespace weir::test
