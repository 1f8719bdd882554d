#pragma once

#include "control/server/subsystem.h"

namespace weir::control {

/// NFNL_SUBSYS_CTHELPER: helpers in user space (conntrackd's), which get packets through a queue.
/// weir hands no packets out, so none can be registered: a well-formed NFNL_MSG_CTHELPER_NEW gets
/// EOPNOTSUPP, and there is nothing to get or to delete. Malformed requests get the errors of the
/// kernel's nfnetlink_cthelper.c.
class Cthelper final : public Subsystem {
 public:
  std::uint8_t id() const override;
  bool is_change(std::uint8_t number) const override;
  Result<void> handle(const Request& request, Reply& reply) override;
};

}  // namespace weir::control
