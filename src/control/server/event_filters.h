#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "netlink/event_filter.h"

namespace weir::control {

/// What a notice is about, for the filters of the sockets that might get it.
struct EventSubject {
  std::uint8_t subsystem = 0;
  std::uint64_t events = 0;  ///< Bits as in weir_event_filter.
  /// Of ctnetlink's alone.
  std::uint8_t protocol = 0;
  std::uint16_t original_zone = 0;
  std::uint16_t reply_zone = 0;
  std::uint32_t mark = 0;
};

/// The event filters of one socket, one for each subsystem that has been given one.
class EventFilters {
 public:
  /// Sets, or replaces, one from an option's value. Errors: EINVAL for a wrong size, unknown
  /// conditions, conditions of another subsystem than ctnetlink, or a reserved word that isn't
  /// zero.
  Result<void> set(Bytes value);
  /// Of this subsystem; one that lets everything through when none has been set.
  weir_event_filter get(std::uint32_t subsystem) const;

  bool admit(const EventSubject& subject) const;
  /// Grows with each change.
  std::uint32_t version() const { return version_; }
  /// The events of a subsystem that may pass.
  std::uint64_t events(std::uint8_t subsystem) const;

 private:
  const weir_event_filter* find(std::uint32_t subsystem) const;

  std::vector<weir_event_filter> filters_;
  std::uint32_t version_ = 0;
};

}  // namespace weir::control
