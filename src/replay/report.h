#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "replay/player.h"

namespace weir::replay {

/// Prints each packet's story as one line.
class LineTeller final : public StoryTeller {
 public:
  void tell(const PacketStory& story) override;
};

/// "forwarded", "to_host", "dropped", "held", "not_ip".
std::string_view name_of(Verdict verdict);
/// "SYN_SENT"; empty for protocols without states.
std::string_view state_of(const Flow& flow);
/// How long packets of it were seen.
Duration duration_of(const Flow& flow);

/// Prints flows, rules and verdicts.
void print_report(const Options& options, Player& player);

/// A packet's story as a JSON object.
nlohmann::ordered_json story_object(const PacketStory& story);
/// The same report as one object.
nlohmann::ordered_json report_object(const Options& options, Player& player);

}  // namespace weir::replay
