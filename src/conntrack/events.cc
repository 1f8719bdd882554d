#include "conntrack/events.h"

#include <utility>

namespace weir::conntrack {

EventReader::EventReader(std::vector<EventRing*> rings, std::uint32_t entries)
    : rings_(std::move(rings)), last_(entries) {}

}  // namespace weir::conntrack
